"""FaceXFormer: reads a face's parse map, landmarks, head pose, attributes, age, gender and race."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from ohlora_lib.faces.classes import CLASS_NAMES
from ohlora_lib.models.pixels import channels_first
from ohlora_lib.models.swin import stage_maps, swin_backbone
from ohlora_lib.models.two_way import MLP, TwoWayTransformer

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
MARGIN = 0.25  # of the box, added on each side ("margin 50")


@dataclass(frozen=True)
class FaceXFormerConfig:
    """The published sizes: Swin-B, a decoder of width 256."""

    resolution: int = 224
    embed: int = 128
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    window: int = 7
    width: int = 256
    decoder_depth: int = 2
    decoder_heads: int = 8
    decoder_mlp: int = 2048


class FaceReading(NamedTuple):
    """What FaceXFormer says of N faces; all but the landmarks and the head pose are logits."""

    parse: torch.Tensor  # (N, 11, 224, 224)
    landmarks: torch.Tensor  # (N, 136)
    headpose: torch.Tensor  # (N, 3)
    attributes: torch.Tensor  # (N, 40)
    visibility: torch.Tensor  # (N, 29)
    age: torch.Tensor  # (N, 8)
    gender: torch.Tensor  # (N, 2)
    race: torch.Tensor  # (N, 5)

    @property
    def parse_map(self) -> torch.Tensor:
        """(N, 224, 224) uint8 class numbers."""
        return self.parse.max(dim=1).indices.byte()  # argmax takes ten times as long on a CPU


class PositionalEncoding(nn.Module):
    """(width, side, side) sines, then cosines, of random frequencies of the cells' centers."""

    def __init__(self, width: int):
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))

    def forward(self, side: int) -> torch.Tensor:
        frequencies = self.positional_encoding_gaussian_matrix
        line = 2 * (torch.arange(side, device=frequencies.device) + 0.5) / side - 1
        # Not a matrix product: autocast would round the phases to bfloat16.
        x, y = line[None, :, None] * frequencies[0], line[:, None, None] * frequencies[1]
        phase = 2 * math.pi * (x + y)
        return torch.cat([phase.sin(), phase.cos()], dim=-1).permute(2, 0, 1)


class Quarters(nn.ConvTranspose2d):
    """(..., inputs), a cell -> (..., 2, 2, outputs), the four that it is cut into.

    A transposed convolution whose kernel is no larger than its stride is a linear layer.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, kernel_size=2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = self.weight.permute(2, 3, 1, 0).flatten(0, 2)
        return F.linear(x, weight, self.bias.repeat(4)).unflatten(-1, (2, 2, -1))


class Upscaling(nn.Sequential):
    """(N, h, w, width) -> (N, h, w, 2, 2, 2, 2, width / 8): cells cut into four, and again."""

    def __init__(self, width: int):
        super().__init__(
            Quarters(width, width // 4),
            nn.LayerNorm(width // 4, eps=1e-6),
            nn.GELU(),
            Quarters(width // 4, width // 8),
            nn.GELU(),
        )


def as_maps(cut: torch.Tensor) -> torch.Tensor:
    """(N, C, h, w, 2, 2, 2, 2), cells that were cut twice -> (N, C, 4 h, 4 w)."""
    maps = cut.permute(0, 1, 2, 4, 6, 3, 5, 7)  # each cut is rows, columns
    return maps.flatten(5, 7).flatten(2, 4)


class FaceDecoder(nn.Module):
    """(N, width, side, side) image features -> FaceReading: 18 tokens ask, an image answers."""

    def __init__(self, config: FaceXFormerConfig):
        super().__init__()
        width = config.width
        self.transformer = TwoWayTransformer(
            config.decoder_depth, width, config.decoder_heads, config.decoder_mlp
        )
        self.landmarks_token = nn.Embedding(1, width)
        self.pose_token = nn.Embedding(1, width)
        self.attribute_token = nn.Embedding(1, width)
        self.visibility_token = nn.Embedding(1, width)
        self.age_token = nn.Embedding(1, width)
        self.gender_token = nn.Embedding(1, width)
        self.race_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(len(CLASS_NAMES), width)
        self.output_upscaling = Upscaling(width)
        self.output_hypernetwork_mlps = MLP(width, width // 8)
        self.landmarks_prediction_head = MLP(width, 136)
        self.pose_prediction_head = MLP(width, 3)
        self.attribute_prediction_head = MLP(width, 40)
        self.visibility_prediction_head = MLP(width, 29)
        self.age_prediction_head = MLP(width, 8)
        self.gender_prediction_head = MLP(width, 2)
        self.race_prediction_head = MLP(width, 5)

    def _tokens(self) -> torch.Tensor:
        """(18, width) landmarks, pose, attributes, visibility, age, gender, race, 11 classes."""
        tokens = [
            self.landmarks_token,
            self.pose_token,
            self.attribute_token,
            self.visibility_token,
            self.age_token,
            self.gender_token,
            self.race_token,
            self.mask_tokens,
        ]
        return torch.cat([token.weight for token in tokens])

    def forward(self, features: torch.Tensor, positions: torch.Tensor) -> FaceReading:
        batch, _, height, width = features.shape
        tokens = self._tokens().expand(batch, -1, -1)
        image = features.flatten(2).transpose(1, 2)
        places = positions.flatten(1).T.contiguous()[None]
        tokens, image = self.transformer(tokens, image, places)
        upscaled = self.output_upscaling(image.unflatten(1, (height, width)))
        kernels = self.output_hypernetwork_mlps(tokens[:, 7:])  # one MLP for all 11 classes
        logits = kernels @ upscaled.flatten(1, -2).transpose(1, 2)
        parse = as_maps(logits.view(batch, -1, *upscaled.shape[1:-1]))
        heads = (
            self.landmarks_prediction_head,
            self.pose_prediction_head,
            self.attribute_prediction_head,
            self.visibility_prediction_head,
            self.age_prediction_head,
            self.gender_prediction_head,
            self.race_prediction_head,
        )
        return FaceReading(parse, *(head(tokens[:, i]) for i, head in enumerate(heads)))


class FaceXFormer(nn.Module):
    """(N, 3, 224, 224) normalized face crops (see `face_input`) -> FaceReading."""

    def __init__(self, config: FaceXFormerConfig | None = None):
        super().__init__()
        self.config = config = config or FaceXFormerConfig()
        self.backbone = swin_backbone(
            config.resolution, config.embed, config.depths, config.heads, config.window
        )
        self.pe_layer = PositionalEncoding(config.width)
        self.face_decoder = FaceDecoder(config)
        stages = [config.embed * 2**stage for stage in range(len(config.depths))]
        self.linear_c = nn.ModuleList(
            nn.ModuleDict({"proj": nn.Linear(channels, config.width)}) for channels in stages
        )
        fused = config.width * len(stages)
        self.linear_fuse = nn.Conv2d(fused, config.width, kernel_size=1, bias=False)

    def fuse(self, maps: list[torch.Tensor]) -> torch.Tensor:
        """The stages' (N, side, side, C), finest first -> (N, width, finest side, finest side).

        Published: project, enlarge, concatenate deepest first, then mix by a 1x1 convolution. All
        of it is linear: each map is projected and mixed at once, while it is small.
        """
        mixes = self.linear_fuse.weight.flatten(1).chunk(len(maps), dim=1)[::-1]
        side, fused = maps[0].shape[1], None
        for linear, mix, x in zip(self.linear_c, mixes, maps, strict=True):
            project = linear["proj"]
            x = F.linear(x, mix @ project.weight, mix @ project.bias).permute(0, 3, 1, 2)
            if fused is None:
                fused = x
            else:
                fused += F.interpolate(x, size=side, mode="bilinear", align_corners=False)
        return fused

    def forward(self, faces: torch.Tensor) -> FaceReading:
        maps = stage_maps(self.backbone, faces)
        # A tenth of the work, and most of the error when autocast rounds it to bfloat16.
        with torch.autocast(faces.device.type, enabled=False):
            features = self.fuse(maps)
            return self.face_decoder(features, self.pe_layer(features.shape[-1]))


def widened_box(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """(4,) x1, y1, x2, y2 of a face -> the (4,) float64 box with its margin, inside the image."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    x, y = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    return np.clip([x1 - x, y1 - y, x2 + x, y2 + y], 0, [width, height, width, height])


def crop_face(image: np.ndarray, box: np.ndarray, side: int = 224) -> np.ndarray:
    """(H, W, 3) uint8 RGB and a face's box -> (side, side, 3) uint8: margin, crop, bicubic resize.

    The crop is not square and is not made so. Pillow's bicubic antialiases; torch's does not.
    """
    left, top, right, bottom = widened_box(box, *image.shape[:2]).astype(int)
    if right <= left or bottom <= top:
        raise ValueError(f"the box {box} has nothing of a {image.shape[:2]} image in it")
    crop = Image.fromarray(image[top:bottom, left:right])
    return np.array(crop.resize((side, side), Image.Resampling.BICUBIC))


def face_input(crops: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(N, 224, 224, 3) uint8 RGB crops -> (N, 3, 224, 224) normalized as ImageNet's images."""
    pixels = channels_first(crops)
    mean, std = torch.tensor([MEAN, STD], device=pixels.device)[..., None, None]
    return (pixels / 255 - mean) / std


def face_images(faces: torch.Tensor) -> torch.Tensor:
    """What `face_input` made -> (N, 224, 224, 3) uint8, the face images that the scores read.

    The original truncates where it should round: about 1 value in 15 is one below the crop's.
    """
    mean, std = torch.tensor([MEAN, STD], device=faces.device)[..., None, None]
    pixels = (faces * std + mean).clamp(0, 1) * 255
    return pixels.byte().permute(0, 2, 3, 1)
