"""Evaluate a generator: `python -m ohlora_lib.train.toy.generator_quality original`.

Compares its images, without truncation, with held-out rendered faces: Fréchet distance (also
relative to that of two sets of rendered faces), precision and coverage, and the standard deviation
of every attribute. Writes figures.json and a sheet of 64 images.

With `--pairs` also the parser's quality on generated faces. Their true maps are unknown, but for
the z of a held-out rendered face the original generator draws nearly that face. So its parse map is
compared with the rendered one, and the generator's errors count as the parser's.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from ohlora_lib import checkpoints
from ohlora_lib.measure.similarity import compare, frechet_distance
from ohlora_lib.models.stylegan import to_uint8
from ohlora_lib.store import ROOT
from ohlora_lib.store.atomic import write_json
from ohlora_lib.store.images import ImageSet
from ohlora_lib.toyworld.face_sets import TEST_SEED, Faces, FaceSet, load_faces
from ohlora_lib.train.toy.entangle import latents
from ohlora_lib.train.toy.parser import evaluate


def generate(generator, count: int, seed: int = 0, batch: int = 32) -> np.ndarray:
    """(count, R, R, 3) uint8 faces without truncation; face i is the same whatever the count."""
    rng = torch.Generator().manual_seed(seed)
    return draw(generator, torch.randn(count, generator.config.z_size, generator=rng), batch)


@torch.no_grad()
def draw(generator, z: torch.Tensor, batch: int = 32) -> np.ndarray:
    """z (N, Z) -> (N, R, R, 3) uint8, without truncation."""
    return np.concatenate([to_uint8(generator(part)) for part in z.split(batch)])


def quality(annotator, real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """Rendered faces (2 N, R, R, 3) and generated ones (N, R, R, 3) -> figures by name.

    "frechet of two rendered sets" compares the two halves of the rendered faces.
    """
    seen, found = annotator.annotate(real), annotator.annotate(made)
    half = len(real) // 2
    rendered = frechet_distance(seen.features[:half], seen.features[half:])
    figures = compare(seen.features[:half], found.features).to_dict()
    figures |= {"frechet of two rendered sets": rendered}
    figures |= {"frechet ratio": figures["frechet"] / rendered}
    for name, values in seen.attributes.items():
        figures[f"spread of {name}"] = float(found.attributes[name].std() / values.std())
    return figures


def parsed_pairs(generator, parser, count: int) -> dict[str, float]:
    """Intersection over union of the parser's maps of generated faces with those of their pairs."""
    faces = load_faces(FaceSet(TEST_SEED, count, shared_texture=True))
    z = torch.from_numpy(latents(TEST_SEED, count))
    drawn = Faces(draw(generator, z), faces.maps, faces.attributes)
    found = evaluate(parser, drawn)
    return {f"parser on generated, {name}": float(iou) for name, iou in found.items()}


def main(arguments: list[str] | None = None) -> int:
    reader = argparse.ArgumentParser(
        prog="python -m ohlora_lib.train.toy.generator_quality", description=__doc__
    )
    reader.add_argument("name", help="a checkpoint's name or file")
    reader.add_argument("--annotator", default="annotator", help="a checkpoint's name or file")
    reader.add_argument("--faces", type=int, default=2000)
    reader.add_argument("--pairs", type=int, default=0, help="faces to parse (original only)")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--out", type=Path, default=ROOT / "data" / "generator_quality")
    options = reader.parse_args(arguments)
    real = load_faces(FaceSet(TEST_SEED, 2 * options.faces))
    generator = checkpoints.load(options.name)
    made = generate(generator, options.faces, options.seed)
    figures = quality(checkpoints.load(options.annotator), real.images, made)
    if options.pairs:
        figures |= parsed_pairs(generator, checkpoints.load("parser"), options.pairs)
    write_json(options.out / "figures.json", figures)
    rows = made[:64].reshape(8, 8, *made.shape[1:]).swapaxes(1, 2)
    sheet = rows.reshape(1, 8 * made.shape[1], 8 * made.shape[2], 3)
    ImageSet(options.out / "sheet").write([0], sheet)
    for key, value in figures.items():
        print(f"{key}: {value:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
