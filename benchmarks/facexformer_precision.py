"""Does FaceXFormer read the same classes in bfloat16? `python -m benchmarks.facexformer_precision`.

With random weights two classes are next to equal at many pixels, and any rounding swaps them; a
network that has learned to segment is surer. The published weights are not here, so this one's
decoder learns to segment rendered faces for some minutes, on top of a random backbone. Then both
formats read faces that taught nothing, before and after. Prints the share of pixels with the same
class, and how well the classes fit the true ones.
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
    """Rendered faces as the network takes them (N, 3, side, side), and their maps."""
    faces = load_faces(FaceSet(TEST_SEED, count))
    images = face_input(np.array(faces.images))
    maps = torch.from_numpy(np.array(faces.maps))[:, None]
    images = F.interpolate(images, side, mode="bilinear")
    return images, F.interpolate(maps, side, mode="nearest")[:, 0].long()


def learn(network: FaceXFormer, images: torch.Tensor, maps: torch.Tensor, steps: int) -> None:
    """Train everything above the backbone, whose random features are computed once."""
    with precision.inference():
        parts = [stage_maps(network.backbone, part) for part in images.split(BATCH)]
    features = [torch.cat(stage).bfloat16().clone() for stage in zip(*parts, strict=True)]
    above = [p for n, p in network.named_parameters() if not n.startswith("backbone")]
    optimizer = torch.optim.AdamW(above, 1e-3)
    share = torch.bincount(maps.flatten(), minlength=len(CLASS_NAMES)) / maps.numel()
    weight = share.clamp(min=1e-4).rsqrt()
    rng = np.random.default_rng(0)
    for step in progress(range(steps), "decoder"):
        rows = rng.choice(len(maps), BATCH, replace=False)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 20, 2 * (1 - step / steps))
        fused = network.fuse([stage[rows].float() for stage in features])
        said = network.face_decoder(fused, network.pe_layer(fused.shape[-1])).parse
        loss = F.cross_entropy(said, maps[rows], weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def classes(network: FaceXFormer, images: torch.Tensor, name: str) -> torch.Tensor:
    with precision.inference(name):
        return torch.cat([network(part).parse_map for part in images.split(BATCH)])


def told(network: FaceXFormer, images: torch.Tensor, maps: torch.Tensor) -> str:
    exact, quick = (classes(network, images, name) for name in ("float32", "bfloat16"))
    kinds = [k for k in range(len(CLASS_NAMES)) if (maps == k).any()]
    iou = [((exact == k) & (maps == k)).sum() / ((exact == k) | (maps == k)).sum() for k in kinds]
    same = (exact == quick).float().mean()
    return f"the same class at {same:.2%} of the pixels; mean IoU with the truth {np.mean(iou):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faces", type=int, default=400)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = FaceXFormer()
    images, maps = read_faces(options.faces, network.config.resolution)
    kept = len(images) // 5
    print("random weights:", told(network, images[:kept], maps[:kept]), flush=True)
    learn(network, images[kept:], maps[kept:], options.steps)
    print("a decoder that segments:", told(network, images[:kept], maps[:kept]))


if __name__ == "__main__":
    main()
