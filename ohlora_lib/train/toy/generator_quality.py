"""Evaluate a generator: `python -m ohlora_lib.train.toy.generator_quality original`.

Compares its images, without truncation, with held-out rendered faces: Fréchet distance (also
relative to that of two sets of rendered faces) in the features of the annotator and of the parser,
precision and coverage, the standard deviation of every attribute, and how well a newly trained
network tells generated from rendered faces. Writes figures.json and a sheet of 64 images.

`--size` chooses the resolution of the images: a generator of 256 px also draws them at 128 px.

With `--pairs` also the parser's quality on generated faces. Their true maps are unknown, but for
the z of a held-out rendered face the original generator draws nearly that face. So its parse map is
compared with the rendered one, and the generator's errors count as the parser's. For the same
faces, how strands differ from those of the rendered face, and on the left from those on the right.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import roc_auc_score

from ohlora_lib import checkpoints
from ohlora_lib.faces.classes import HAIR
from ohlora_lib.measure.similarity import compare, frechet_distance
from ohlora_lib.models.precision import autocast
from ohlora_lib.models.realism_cnn import RealismCNN, RealismCNNConfig
from ohlora_lib.models.stylegan import to_uint8
from ohlora_lib.store import ROOT
from ohlora_lib.store.atomic import write_json
from ohlora_lib.store.images import ImageSet
from ohlora_lib.toyworld.face_sets import TEST_SEED, Faces, FaceSet, load_faces
from ohlora_lib.train.checkpoint import stream
from ohlora_lib.train.toy.entangle import latents
from ohlora_lib.train.toy.parser import evaluate

DIRECTIONS = 8  # of strands


def generate(generator, count: int, seed: int = 0, batch: int = 32, size=None) -> np.ndarray:
    """(count, R, R, 3) uint8 faces without truncation; face i is the same whatever the count."""
    rng = torch.Generator().manual_seed(seed)
    return draw(generator, torch.randn(count, generator.config.z_size, generator=rng), batch, size)


@torch.no_grad()
def draw(generator, z: torch.Tensor, batch: int = 32, size: int | None = None) -> np.ndarray:
    """z (N, Z) -> (N, R, R, 3) uint8, without truncation; `size`: R if not the generator's."""
    lod = int(math.log2(generator.config.resolution / size)) if size else 0
    parts = (generator(part, lod=lod)[..., :: 2**lod, :: 2**lod] for part in z.split(batch))
    return np.concatenate([to_uint8(part) for part in parts])


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


def parser_frechet(parser, real: np.ndarray, made: np.ndarray) -> dict[str, float]:
    """As in `quality`, in the parser's coarsest features, which no generator was trained on."""
    seen, found = (coarse_features(parser, images) for images in (real, made))
    half = len(real) // 2
    rendered = frechet_distance(seen[:half], seen[half:])
    return {"frechet ratio, parser": frechet_distance(seen[:half], found) / rendered}


@torch.no_grad()
def coarse_features(parser, images: np.ndarray, batch: int = 50) -> np.ndarray:
    """(N, R, R, 3) uint8 -> (N, C): the mean of every map at the parser's coarsest size."""
    found = []
    hook = parser.down[-1].register_forward_hook(
        lambda *call: found.append(call[-1].float().mean((2, 3)).double().numpy())
    )
    for i in range(0, len(images), batch):
        parser.parse(images[i : i + batch])
    hook.remove()
    return np.concatenate(found)


def told_apart(real: np.ndarray, made: np.ndarray, seed: int = 0, epochs: int = 15) -> float:
    """AUROC of a new network that learns to tell (N, R, R, 3) from (M, R, R, 3), on a third."""
    images, truth = np.concatenate([real, made]), np.repeat([1.0, 0.0], [len(real), len(made)])
    order = stream(seed, 0).permutation(len(images))
    held, rest = np.split(order, [len(order) // 3])
    network = RealismCNN(RealismCNNConfig(widths=(8, 16, 32, 64), resolution=real.shape[1]), seed)
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    batches = [
        rows
        for epoch in range(epochs)
        for rows in np.array_split(
            stream(seed, 1 + epoch).permutation(rest), max(1, len(rest) // 32)
        )
    ]
    for rows in batches:
        with autocast():
            odds = network(network.as_input(images[rows]))
        loss = F.binary_cross_entropy_with_logits(
            odds.float(), torch.from_numpy(truth[rows]).float()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(roc_auc_score(truth[held], network.log_odds(images[held])))


def strands(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Faces (N, R, R, 3) uint8 and class maps (N, R, R) -> (2, DIRECTIONS) energy of strands.

    The mean squared gradient of brightness, by its direction, deep inside the hair on the left and
    on the right of the face; the right is mirrored, so that equal strands give equal rows.
    """
    gray = torch.tensor(images).float().mean(-1)[:, None] / 255
    hair = torch.tensor(maps == HAIR).float()[:, None]
    reach = images.shape[1] // 32
    inside = -F.max_pool2d(-hair, 2 * reach + 1, 1, reach)
    across, down = (
        F.pad(d, p)
        for d, p in (
            (gray[..., 2:] - gray[..., :-2], (1, 1)),
            (gray[..., 2:, :] - gray[..., :-2, :], (0, 0, 1, 1)),
        )
    )
    columns = torch.arange(images.shape[1]).float()
    middle = (hair.sum(2) * columns).sum(-1) / hair.sum((2, 3)).clamp(min=1)
    right = (columns > middle[..., None])[:, :, None]
    rows = []
    for side, sign in ((~right, 1), (right, -1)):
        where = (inside > 0) & side
        angle = torch.atan2(down[where], sign * across[where]) % math.pi
        bins = (angle / math.pi * DIRECTIONS).long().clamp(max=DIRECTIONS - 1)
        energy = across[where].square() + down[where].square()
        rows.append(torch.bincount(bins, energy, DIRECTIONS) / max(1, where.sum()))
    return torch.stack(rows).numpy()


def parsed_pairs(generator, parser, count: int, size: int | None = None) -> dict[str, float]:
    """Intersection over union of the parser's maps of generated faces with those of their pairs,
    and the strands of both."""
    size = size or generator.config.resolution
    faces = load_faces(FaceSet(TEST_SEED, count, size, shared_texture=True, own_hair=True))
    z = torch.from_numpy(latents(TEST_SEED, count))
    drawn = Faces(draw(generator, z, size=size), faces.maps, faces.attributes)
    found = evaluate(parser, drawn)
    figures = {f"parser on generated, {name}": float(iou) for name, iou in found.items()}
    maps = np.concatenate([parser.parse(drawn.images[i : i + 50]) for i in range(0, count, 50)])
    wanted, made = strands(faces.images, faces.maps), strands(drawn.images, maps)
    for name, energy in (("rendered", wanted), ("generated", made)):
        left, right = energy
        figures[f"strands of {name}, right against left"] = float(right.sum() / left.sum())
        apart = np.abs(left / left.sum() - right / right.sum()).sum() / 2
        figures[f"strands of {name}, directions that differ"] = float(apart)
    figures["strands, generated against rendered"] = float(made.sum() / wanted.sum())
    return figures


def main(arguments: list[str] | None = None) -> int:
    reader = argparse.ArgumentParser(
        prog="python -m ohlora_lib.train.toy.generator_quality", description=__doc__
    )
    reader.add_argument("name", help="a checkpoint's name or file")
    reader.add_argument("--annotator", default="annotator", help="a checkpoint's name or file")
    reader.add_argument("--parser", default="parser", help="a checkpoint's name or file")
    reader.add_argument("--size", type=int, help="of the images (default: the generator's)")
    reader.add_argument("--faces", type=int, default=2000)
    reader.add_argument("--pairs", type=int, default=0, help="faces to parse (original only)")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--out", type=Path, default=ROOT / "data" / "generator_quality")
    options = reader.parse_args(arguments)
    generator = checkpoints.load(options.name)
    size = options.size or generator.config.resolution
    real = load_faces(FaceSet(TEST_SEED, 2 * options.faces, size))
    made = generate(generator, options.faces, options.seed, size=size)
    figures = quality(checkpoints.load(options.annotator), real.images, made)
    parser = checkpoints.load(options.parser)
    figures |= parser_frechet(parser, real.images, made)
    figures["told from rendered, AUROC"] = told_apart(
        real.images[: options.faces], made, options.seed
    )
    if options.pairs:
        figures |= parsed_pairs(generator, parser, options.pairs, size)
    write_json(options.out / "figures.json", figures)
    rows = made[:64].reshape(8, 8, *made.shape[1:]).swapaxes(1, 2)
    sheet = rows.reshape(1, 8 * made.shape[1], 8 * made.shape[2], 3)
    ImageSet(options.out / "sheet").write([0], sheet)
    for key, value in figures.items():
        print(f"{key}: {value:.4g}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
