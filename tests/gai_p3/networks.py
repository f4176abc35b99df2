"""Small networks and faces for these tests."""

import numpy as np
import torch

from ohlora_lib.models.nvae import CONDITIONS, NVAE, NVAEConfig
from ohlora_lib.models.realism_cnn import RealismCNN, RealismCNNConfig

SIDE = 32
TINY = NVAEConfig(
    resolution=SIDE,
    channels=4,
    max_channels=8,
    groups=(1, 1, 1),  # of 16, 8 and 4 pixels
    latents=3,
    cells=1,
    pre_cells=1,
    post_cells=1,
    expansion=2,
    mixtures=2,
    flows=0,
    conditions=CONDITIONS,
    embedding=6,
)
PLAIN = RealismCNNConfig("plain", (8, 8, 16), SIDE)
RESIDUAL = RealismCNNConfig("residual", (8, 8, 16), SIDE)


def trained_nvae(condition: float = 0.3) -> NVAE:
    """A network whose statistics have seen images, whose priors and posteriors differ, and whose
    condition has weights of this standard deviation."""
    network, rng = NVAE(TINY, 0), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "film" in name or "condition_" in name:
                parameter.normal_(0, condition, generator=rng)
            elif "sampler" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=rng))
        for _ in range(6):
            x = torch.randn(8, 3, SIDE, SIDE, generator=rng).clamp(-1, 1)
            network(x, noise=network.random_noise(8, rng))
    return network.eval()


def conditions(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, len(CONDITIONS))).astype(np.float32)


def noisy_faces(count: int, seed: int = 0) -> np.ndarray:
    """(count, SIDE, SIDE, 3) uint8 of noise around gray."""
    rng = np.random.default_rng(seed)
    return rng.normal(128, 20, (count, SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)


def marked_faces(count: int, seed: int = 0) -> np.ndarray:
    """As `noisy_faces`, with a bright block at rows and columns 4 to 8: the planted fault."""
    faces = noisy_faces(count, seed)
    faces[:, 4:8, 4:8] = 220
    return faces


def judge(config: RealismCNNConfig = PLAIN, seed: int = 0) -> RealismCNN:
    return RealismCNN(config, seed).eval()
