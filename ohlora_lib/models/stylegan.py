"""StyleGAN1's generator as GenForce lays it out, in its three published forms.

* unconditional (`label_size=0`): GenForce's celeba-partial;
* conditional (`label_size=7`): FineTune-v1 and v8. The label enters in `Mapping.normalized_input`;
* split mapping (`split_size=2048`): FineTune-v9, whose w is the sum of two branches.

Named entry points, each starting where its argument stands in the chain

    z, label -> split1 -> split2 -> w -> wp (one w per layer) -> images (N, 3, R, R), about -1..1

Every stage is a module, so a forward hook sees any intermediate: `mapping.dense5`,
`synthesis.layer3` (that layer's features after its style), `synthesis.layer3.style` (2C values,
scale half first). Large maps are made for a few images at a time: a hook there is called again for
the next few.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn

from ohlora_lib.models.stylegan_layers import Dense, initialize
from ohlora_lib.models.stylegan_synthesis import Synthesis


@dataclass(frozen=True)
class GeneratorConfig:
    """Sizes of a generator; the defaults are GenForce's celeba_partial-256x256."""

    resolution: int = 256
    z_size: int = 512
    w_size: int = 512
    label_size: int = 0  # 7 property values in FineTune-v1, v8, v9
    embedding_size: int = 16  # what a label becomes before it is appended to z
    split_size: int = 0  # width of FineTune-v9's second branch: 2048
    mapping_layers: int = 8
    mapping_width: int = 512
    fmaps_base: int = 16384
    fmaps_max: int = 512
    image_channels: int = 3

    def __post_init__(self):
        if self.resolution not in (8 << k for k in range(8)):
            raise ValueError(f"resolution {self.resolution}: must be 8, 16, 32 … or 1024")
        if self.fmaps_base < self.resolution:
            raise ValueError(
                f"fmaps_base {self.fmaps_base} leaves no feature map at {self.resolution} px"
            )
        if self.split_size and self.mapping_layers < 3:
            raise ValueError(f"a split mapping needs 3 layers or more, not {self.mapping_layers}")

    @property
    def layers(self) -> int:
        """Number of styled layers, two per resolution from 4 up."""
        return 2 * int(math.log2(self.resolution)) - 2

    def to_dict(self) -> dict:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "GeneratorConfig":
        return cls(**values)


class Mapping(nn.Module):
    """z (N, z_size) and, in conditional generators, label (N, label_size) -> w (N, w_size)."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.config = config
        last, width = config.mapping_layers - 1, config.mapping_width
        inputs = config.z_size
        if config.label_size:
            self.label_weight = nn.Parameter(torch.empty(config.label_size, config.embedding_size))
            inputs += config.embedding_size
        for i in range(last + 1):
            outputs = config.w_size if i == last else width
            self.add_module(f"dense{i}", Dense(inputs, outputs, rate=0.01))
            inputs = width
        if config.split_size:
            self.dense_new0 = Dense(width, config.split_size, rate=0.01)
            self.dense_new1 = Dense(config.split_size, config.w_size, rate=0.01)

    @torch.no_grad()
    def start(self, rng: torch.Generator) -> None:
        if self.config.label_size:
            self.label_weight.normal_(generator=rng)

    def normalized_input(self, z, label=None):
        """z with the label's embedding appended, then pixel norm over all of it together."""
        if (label is not None) != bool(self.config.label_size):
            wanted = f"needs a label of {self.config.label_size}" if label is None else "takes none"
            raise ValueError(f"label: this generator {wanted}")
        if label is not None:
            embedding = (label[:, :, None] * self.label_weight).sum(dim=1)
            z = torch.cat([z, embedding], dim=1)
        return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)

    def _dense(self, i: int, x):
        return getattr(self, f"dense{i}")(x)

    def forward(self, z, label=None):
        if self.config.split_size:
            return self.split1_to_w(self.split1(z, label))
        x = self.normalized_input(z, label)
        for i in range(self.config.mapping_layers):
            x = self._dense(i, x)
        return x

    def split1(self, z, label=None):
        """FineTune-v9: the two branches after their first layer, [w1 (512), w2 (2048)]."""
        self._must_split()
        x = self.normalized_input(z, label)
        for i in range(self.config.mapping_layers - 2):
            x = self._dense(i, x)
        return torch.cat([self._dense(self.config.mapping_layers - 2, x), self.dense_new0(x)], 1)

    def split1_to_split2(self, split1):
        """The two branches after their second layer, [w1' (512), w2' (512)]."""
        self._must_split()
        w1, w2 = split1.split([self.config.mapping_width, self.config.split_size], dim=1)
        return torch.cat([self._dense(self.config.mapping_layers - 1, w1), self.dense_new1(w2)], 1)

    def split2_to_w(self, split2):
        """w = w1' + w2'."""
        self._must_split()
        w1, w2 = split2.chunk(2, dim=1)
        return w1 + w2

    def split1_to_w(self, split1):
        return self.split2_to_w(self.split1_to_split2(split1))

    def _must_split(self) -> None:
        if not self.config.split_size:
            raise ValueError("this generator's mapping has no split: start from z or w")


class Truncation(nn.Module):
    """Pulls w toward the average w, and repeats it once per layer."""

    def __init__(self, config: GeneratorConfig):
        super().__init__()
        self.layers = config.layers
        self.register_buffer("w_avg", torch.zeros(config.w_size))

    def forward(self, w, psi: float = 1.0, layers: int = 0):
        """w (N, w_size) or wp -> wp (N, layers, w_size); psi < 1 acts on the first `layers`."""
        wp = w if w.dim() == 3 else w[:, None].expand(-1, self.layers, -1)
        if psi >= 1 or layers <= 0:
            return wp
        pulled = torch.lerp(self.w_avg, wp[:, :layers], psi)
        return torch.cat([pulled, wp[:, layers:]], dim=1)

    @torch.no_grad()
    def update(self, w, decay: float = 0.995) -> None:
        """Moves the average toward this batch's mean w, as the reference does when it trains."""
        self.w_avg.lerp_(w.mean(dim=0), 1 - decay)


class Generator(nn.Module):
    """StyleGAN1's generator. The `from_…` entry points and `forward` share the chain below them.

    Their options go to `from_w`: psi and trunc_layers (truncation), noise and lod (`Synthesis`).
    """

    def __init__(self, config: GeneratorConfig | None = None, seed: int = 0):
        super().__init__()
        self.config = config or GeneratorConfig()
        self.mapping = Mapping(self.config)
        self.truncation = Truncation(self.config)
        self.synthesis = Synthesis(self.config)
        initialize(self, seed)

    def forward(self, z, label=None, **options):
        return self.from_w(self.mapping(z, label), **options)

    def from_split1(self, split1, **options):
        return self.from_w(self.mapping.split1_to_w(split1), **options)

    def from_split2(self, split2, **options):
        return self.from_w(self.mapping.split2_to_w(split2), **options)

    def from_w(self, w, psi: float = 1.0, trunc_layers: int = 0, noise=None, lod=None):
        return self.from_wp(self.truncation(w, psi, trunc_layers), noise=noise, lod=lod)

    def from_wp(self, wp, noise=None, lod=None):
        return self.synthesis(wp, noise=noise, lod=lod)


def mix_styles(wp, other, first: int | torch.Tensor):
    """wp (N, L, w) with the layers from `first` on from `other`; one number or (N,) of them."""
    layer = torch.arange(wp.shape[1], device=wp.device)
    first = torch.as_tensor(first, device=wp.device).reshape(-1, 1)
    return torch.where((layer >= first)[..., None], other, wp)


def to_uint8(images) -> np.ndarray:
    """Images (N, 3, H, W) in -1..1 -> (N, H, W, 3) uint8 RGB, rounded as the reference does."""
    values = images.detach().permute(0, 2, 3, 1).cpu()
    pixels = torch.empty(values.shape, dtype=torch.uint8)
    for image, place in zip(values, pixels, strict=True):  # one at a time stays in the cache
        exact = image.to(torch.float64, copy=True).add_(1).mul_(255 / 2).add_(0.5)
        place.copy_(exact.clamp_(0, 255))
    return pixels.numpy()
