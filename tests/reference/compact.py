"""`python -m tests.reference.compact GOLDEN DIR` cuts a small reference set out of a full one.

This made tests/reference/data: small arrays are kept, of large ones the first channels and every
k-th pixel, or nothing; of the property scores some maps with every kind of special case. Weights
need no cut: manifests hold their recipes.
"""

import argparse
import io
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd

from tests.reference.golden import thinned

WHOLE = 20_000  # compressed bytes up to which an array is kept as it is
PIXELS = 32  # per side of a thinned map
KEPT = ("seg_argmax", "seg_top2_margin_f16", "image_psi10_uint8_nhwc")
"""Arrays that are kept although they are larger and cannot be thinned."""
THINNABLE = ("feat_", "image_", "score_sum_image_grad", "seg_logits", "conv", "multiscale", "fused")
CASES = (
    "plausible_00",
    "plausible_large_tilt",
    "left_eye_missing",
    "no_nose",
    "eyes_vertical_dx_zero",
    "hair_with_holes",
    "hair_left_edge_negative_index_wrap",
)


def size(array: np.ndarray) -> int:
    """Bytes of the array in a compressed .npz file."""
    file = io.BytesIO()
    np.savez_compressed(file, array=array)
    return file.getbuffer().nbytes


def compact(name: str, array: np.ndarray) -> np.ndarray | None:
    """The array, a part of it, or None."""
    if name in KEPT or size(array) <= WHOLE:
        return array
    if not name.startswith(THINNABLE) or array.ndim < 3 or array.dtype == np.uint8:
        return None
    *_, height, width = array.shape
    step = math.ceil(max(height, width) / PIXELS)
    shape = [*array.shape[:-2], math.ceil(height / step), math.ceil(width / step)]
    part = thinned(array, tuple(shape))
    if size(part) > WHOLE and part.shape[-3] > 4:
        # All images stay: in a discriminator they depend on each other.
        part = part[..., : part.shape[-3] // 4, :, :]
    return part


def cut_networks(golden: Path, target: Path) -> None:
    for path in sorted(golden.glob("*.manifest.json")):
        name, manifest = path.name.removesuffix(".manifest.json"), json.loads(path.read_text())
        with np.load(golden / f"{name}.golden.npz") as stored:
            cut = {key: compact(key, stored[key]) for key in stored.files}
        cut = {key: array for key, array in cut.items() if array is not None}
        np.savez_compressed(target / f"{name}.golden.npz", **cut)
        manifest["arrays"] = {
            key: entry | {"shape": list(cut[key].shape)}
            for key, entry in manifest["arrays"].items()
            if key in cut
        }
        (target / path.name).write_text(json.dumps(manifest, separators=(",", ":")) + "\n")
    with np.load(golden / "test_images_256.npz") as stored:
        np.savez_compressed(target / "test_images_256.npz", **stored)


def cut_scores(golden: Path, target: Path) -> None:
    """Some of the maps with their images and scores. (Normalized scores need all of them.)"""
    target.mkdir(exist_ok=True)
    with np.load(golden / "parse_maps.npz") as stored:
        rows = np.flatnonzero(np.isin(stored["names"], CASES))
        names = stored["names"][rows]
        np.savez_compressed(target / "parse_maps.npz", maps=stored["maps"][rows], names=names)
    with np.load(golden / "images_rgb.npz") as stored:
        np.savez_compressed(target / "images_rgb.npz", images=stored["images"][rows])
    table = pd.read_csv(golden / "reference_scores.csv", dtype=str, keep_default_na=False)
    table = table.iloc[rows].assign(index=range(len(rows)))
    table.to_csv(target / "reference_scores.csv", index=False, lineterminator="\n")
    status = json.loads((golden / "reference_status.json").read_text())
    status = {name: status[name] for name in names.tolist() if name in status}
    (target / "reference_status.json").write_text(json.dumps(status, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.reference.compact", description=__doc__)
    parser.add_argument("golden", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    options.target.mkdir(parents=True, exist_ok=True)
    cut_networks(options.golden, options.target)
    cut_scores(options.golden / "property_scores", options.target / "property_scores")


if __name__ == "__main__":
    main()
