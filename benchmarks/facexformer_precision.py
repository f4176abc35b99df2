"""FaceXFormer's classes in bfloat16 and float32: `python -m benchmarks.facexformer_precision`.

With random weights two classes are nearly tied at many pixels, and any rounding swaps them; a
trained network has larger margins. Without the published weights, this one's decoder is trained on
rendered faces for some minutes, on top of a random backbone. Before and after, both formats segment
held-out faces. Prints the fraction of pixels with the same class, and the IoU with the true maps.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F

from ohlora_lib.compute.progress import progress
from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.models import precision
from ohlora_lib.models.facexformer import FaceXFormer, face_input, stage_maps
from ohlora_lib.toyworld.face_sets import TEST_SEED, FaceSet, load_faces

BATCH = 8


def read_faces(count: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Rendered faces as network inputs (N, 3, side, side), and their class maps."""
    faces = load_faces(FaceSet(TEST_SEED, count))
    images = face_input(np.array(faces.images))
    maps = torch.from_numpy(np.array(faces.maps))[:, None]
    images = F.interpolate(images, side, mode="bilinear")
    return images, F.interpolate(maps, side, mode="nearest")[:, 0].long()


def learn(network: FaceXFormer, images: torch.Tensor, maps: torch.Tensor, steps: int) -> None:
    """Train all but the backbone, whose random features are computed once."""
    with precision.inference():
        parts = [stage_maps(network.backbone, part) for part in images.split(BATCH)]
    features = [torch.cat(stage).bfloat16().clone() for stage in zip(*parts, strict=True)]
    above = [p for n, p in network.named_parameters() if not n.startswith("backbone")]
    optimizer = torch.optim.AdamW(above, 1e-3)
    frequency = torch.bincount(maps.flatten(), minlength=len(CLASS_NAMES)) / maps.numel()
    weight = frequency.clamp(min=1e-4).rsqrt()
    rng = np.random.default_rng(0)
    for step in progress(range(steps), "decoder"):
        rows = rng.choice(len(maps), BATCH, replace=False)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 20, 2 * (1 - step / steps))
        fused = network.fuse([stage[rows].float() for stage in features])
        logits = network.face_decoder(fused, network.pe_layer(fused.shape[-1])).parse
        loss = F.cross_entropy(logits, maps[rows], weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def classes(network: FaceXFormer, images: torch.Tensor, name: str) -> torch.Tensor:
    with precision.inference(name):
        return torch.cat([network(part).parse_map for part in images.split(BATCH)])


def summary(network: FaceXFormer, images: torch.Tensor, maps: torch.Tensor) -> str:
    exact, rounded = (classes(network, images, name) for name in ("float32", "bfloat16"))
    kinds = [k for k in range(len(CLASS_NAMES)) if (maps == k).any()]
    iou = [((exact == k) & (maps == k)).sum() / ((exact == k) | (maps == k)).sum() for k in kinds]
    same = (exact == rounded).float().mean()
    return f"same class at {same:.2%} of the pixels; mean IoU with the true maps {np.mean(iou):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=400)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = FaceXFormer()
    images, maps = read_faces(options.faces, network.config.resolution)
    kept = len(images) // 5
    print("random weights:", summary(network, images[:kept], maps[:kept]), flush=True)
    learn(network, images[kept:], maps[kept:], options.steps)
    print("trained decoder:", summary(network, images[:kept], maps[:kept]))


if __name__ == "__main__":
    main()
