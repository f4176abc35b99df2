"""FaceXFormer: a face's parse map, landmarks, head pose, attributes, age, gender and race.

A Swin-B backbone (keys as torchvision's `swin_b`), the fusion of its four stages, and a decoder
whose tokens and image features attend to each other (the two-way transformer of SAM).
"""

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

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
NORM_EPS = 1e-5  # of the backbone's layer norms
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
    """Outputs for N faces; all but the landmarks and the head pose are logits."""

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


# Backbone: Swin Transformer (v1)


def relative_positions(window: int) -> torch.Tensor:
    """(window^4,) for every pair of cells of a window, their offset's row in the bias table."""
    cells = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = cells[:, None] - cells[None, :] + window - 1  # (cells, cells, 2), from 0
    return (offset[..., 0] * (2 * window - 1) + offset[..., 1]).flatten()


def window_order(side: int, window: int) -> torch.Tensor:
    """(side^2,) the row-major cells of a square map, window after window."""
    cells = torch.arange(side * side).view(side // window, window, side // window, window)
    return cells.transpose(1, 2).flatten()


def shifted_windows(side: int, window: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Windows shifted by half their size, for maps in window order: `gather`, `scatter`, `mask`.

    `gather` is the order of the cells in shifted windows, `scatter` its inverse; `mask` (windows,
    cells, cells) separates cells that are neighbors only because the shift wraps around.
    """
    shift, order = window // 2, window_order(side, window)
    moved = torch.arange(side * side).view(side, side).roll((-shift, -shift), (0, 1)).flatten()
    gather = torch.argsort(order)[moved[order]]
    line = torch.arange(side)
    band = (line >= side - window).long() + (line >= side - shift).long()
    region = (band[:, None] * 3 + band[None, :]).flatten()[order].view(-1, window * window)
    mask = torch.where(region[:, :, None] == region[:, None, :], 0.0, -100.0)
    return gather, torch.argsort(gather), mask


class WindowAttention(nn.Module):
    """(N, cells, C) in window order -> the same shape: attention inside each window."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.heads, self.window = heads, window
        table = torch.empty((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def bias(self, mask: torch.Tensor | None) -> torch.Tensor:
        """(1 or windows, heads, cells, cells) the bias of the attention's logits."""
        cells = self.window * self.window
        bias = self.relative_position_bias_table[self.relative_position_index]
        bias = bias.view(1, cells, cells, self.heads).permute(0, 3, 1, 2)
        return bias if mask is None else bias + mask[:, None]

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        shape, cells = x.shape, self.window * self.window
        qkv = self.qkv(x).view(-1, cells, 3, self.heads, shape[-1] // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # (N windows, heads, cells, C / heads) each
        bias = self.bias(mask).to(query.dtype)
        if mask is not None:
            bias = bias.repeat(shape[0], 1, 1, 1)
        x = F.scaled_dot_product_attention(query, key, value, bias)
        return self.proj(x.transpose(1, 2).reshape(shape))


class Block(nn.Module):
    """(N, cells, C) in window order -> the same shape; `shift`: from `shifted_windows`, or None."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, NORM_EPS)
        self.attn = WindowAttention(channels, heads, window)
        self.norm2 = nn.LayerNorm(channels, NORM_EPS)
        # Positions 2 and 4 of the published Sequential are dropouts.
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels),
            nn.GELU(),
            nn.Identity(),
            nn.Linear(4 * channels, channels),
        )

    def forward(self, x: torch.Tensor, shift: tuple[torch.Tensor, ...] | None) -> torch.Tensor:
        if shift is None:
            x = x + self.attn(self.norm1(x), None)
        else:
            gather, scatter, mask = shift
            x = x + self.attn(self.norm1(x)[:, gather], mask)[:, scatter]
        return x + self.mlp(self.norm2(x))


class Stage(nn.Sequential):
    """(N, side, side, C) -> the same shape: blocks, every second one with shifted windows."""

    def __init__(self, channels: int, depth: int, heads: int, window: int, side: int):
        super().__init__(*(Block(channels, heads, window) for _ in range(depth)))
        self.shifts = side > window  # not if the map is a single window
        order = window_order(side, window)
        tables = (order, torch.argsort(order), *shifted_windows(side, window))
        names = ("gather", "scatter", "shift_gather", "shift_scatter", "shift_mask")
        for name, table in zip(names, tables, strict=True):
            self.register_buffer(name, table, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = x.shape
        shift = (self.shift_gather, self.shift_scatter, self.shift_mask)
        # The residual stream stays float32, whatever the blocks compute in.
        x = x.flatten(1, 2)[:, self.gather].to(self[0].norm1.weight.dtype)
        for number, block in enumerate(self):
            x = block(x, shift if self.shifts and number % 2 else None)
        return x[:, self.scatter].view(shape)


class PatchMerging(nn.Module):
    """(N, side, side, C) -> (N, side / 2, side / 2, 2 C)."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)
        self.norm = nn.LayerNorm(4 * channels, NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(torch.cat(corners, dim=-1)))


class PatchEmbed(nn.Sequential):
    """(N, 3, H, W) -> (N, H / 4, W / 4, C)."""

    def __init__(self, channels: int):
        super().__init__(
            nn.Conv2d(3, channels, kernel_size=4, stride=4),
            nn.Identity(),  # the published Sequential permutes here
            nn.LayerNorm(channels, NORM_EPS),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self[2](self[0](images).permute(0, 2, 3, 1))


def swin_backbone(
    side: int, channels: int, depths: tuple, heads: tuple, window: int
) -> nn.Sequential:
    """Backbone for `side` px images: [0] patch embedding, stage, merging, stage, …; [1] last norm.

    The last norm is in the checkpoint, but no output of FaceXFormer uses it.
    """
    layers: list[nn.Module] = [PatchEmbed(channels)]
    side //= 4
    for stage, (depth, head) in enumerate(zip(depths, heads, strict=True)):
        if stage:
            layers.append(PatchMerging(channels))
            channels, side = 2 * channels, side // 2
        if side % window:
            raise ValueError(
                f"stage {stage}: a {side} x {side} map cannot be divided into {window} px windows"
            )
        layers.append(Stage(channels, depth, head, window, side))
    return nn.Sequential(nn.Sequential(*layers), nn.LayerNorm(channels, NORM_EPS))


def stage_maps(backbone: nn.Sequential, images: torch.Tensor) -> list[torch.Tensor]:
    """(N, 3, H, W) images -> each stage's (N, side, side, C), finest first."""
    maps, x = [], images
    for layer in backbone[0]:
        x = layer(x)
        if isinstance(layer, Stage):
            maps.append(x)
    return maps


# Decoder: tokens and image features attend to each other


class MLP(nn.Module):
    """(..., width) -> (..., outputs): three linear layers, ReLU between."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, outputs)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


class Attention(nn.Module):
    """Queries (N, Q, C), keys and values (N, K, C) -> (N, Q, C), computed at C / `downsample`."""

    def __init__(self, width: int, heads: int, downsample: int = 1):
        super().__init__()
        self.heads, inner = heads, width // downsample
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        projected = (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(x.transpose(1, 2).flatten(2))


class TokenMLP(nn.Module):
    """(N, tokens, width) -> the same shape."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin2(F.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    """Tokens among themselves, tokens to image, tokens' MLP, image to tokens; a norm after each.

    In the first block the tokens are their own positions: its self-attention adds none and has no
    residual (as in SAM).
    """

    def __init__(self, width: int, heads: int, hidden: int, first: bool):
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, heads)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = TokenMLP(width, hidden)
        self.norm3 = nn.LayerNorm(width)
        self.norm4 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, heads, downsample=2)

    def forward(
        self,
        tokens: torch.Tensor,
        image: torch.Tensor,
        token_positions: torch.Tensor,
        image_positions: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            query = tokens + token_positions
            tokens = self.norm1(tokens + self.self_attn(query, query, tokens))
        key = image + image_positions
        query = tokens + token_positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(query, key, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        query = tokens + token_positions
        image = self.norm4(image + self.cross_attn_image_to_token(key, query, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Tokens (N, T, C), image (N, cells, C), its positions (1, cells, C) -> tokens, image.

    The input tokens serve as their own positions in every layer.
    """

    def __init__(self, depth: int, width: int, heads: int, hidden: int):
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayBlock(width, heads, hidden, first=layer == 0) for layer in range(depth)
        )
        self.final_attn_token_to_image = Attention(width, heads, downsample=2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(
        self, tokens: torch.Tensor, image: torch.Tensor, positions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        token_positions = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_positions, positions)
        query, key = tokens + token_positions, image + positions
        final = self.final_attn_token_to_image(query, key, image)
        return self.norm_final_attn(tokens + final), image


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


class Upscaling(nn.Sequential):
    """(N, width, h, w) -> (N, width / 8, 4 h, 4 w): two transposed convolutions."""

    def __init__(self, width: int):
        super().__init__(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            nn.LayerNorm(width // 4, eps=1e-6),  # over channels
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, norm, activate, second, _ = self
        x = norm(first(x).movedim(1, -1)).movedim(-1, 1)
        return activate(second(activate(x)))


class FaceDecoder(nn.Module):
    """(N, width, side, side) image features -> FaceReading: 18 learned tokens query the image."""

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
        image_positions = positions.flatten(1).T.contiguous()[None]
        tokens, image = self.transformer(tokens, image, image_positions)
        upscaled = self.output_upscaling(image.transpose(1, 2).unflatten(2, (height, width)))
        kernels = self.output_hypernetwork_mlps(tokens[:, 7:])  # one MLP for all 11 classes
        parse = (kernels @ upscaled.flatten(2)).unflatten(2, upscaled.shape[2:])
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

        Published: project, upsample, concatenate deepest first, then mix by a 1x1 convolution. All
        of it is linear: each map is projected and mixed in one step, before upsampling.
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
        # A tenth of the work, but most of the error if autocast rounds it to bfloat16.
        with torch.autocast(faces.device.type, enabled=False):
            features = self.fuse(maps)
            return self.face_decoder(features, self.pe_layer(features.shape[-1]))


def widened_box(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """(4,) x1, y1, x2, y2 of a face -> (4,) float64 box with its margin, clipped to the image."""
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    x, y = MARGIN * (x2 - x1), MARGIN * (y2 - y1)
    return np.clip([x1 - x, y1 - y, x2 + x, y2 + y], 0, [width, height, width, height])


def crop_face(image: np.ndarray, box: np.ndarray, side: int = 224) -> np.ndarray:
    """(H, W, 3) uint8 RGB and a face's box -> (side, side, 3) uint8: margin, crop, bicubic resize.

    The crop is not made square. Pillow's bicubic filter antialiases when it shrinks.
    """
    left, top, right, bottom = widened_box(box, *image.shape[:2]).astype(int)
    if right <= left or bottom <= top:
        raise ValueError(f"the box {box} does not overlap the {image.shape[:2]} image")
    crop = Image.fromarray(image[top:bottom, left:right])
    return np.array(crop.resize((side, side), Image.Resampling.BICUBIC))


def face_input(crops: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(N, 224, 224, 3) uint8 RGB crops -> (N, 3, 224, 224) normalized as ImageNet's images."""
    pixels = channels_first(crops)
    mean, std = torch.tensor([MEAN, STD], device=pixels.device)[..., None, None]
    return (pixels / 255 - mean) / std


def face_images(faces: torch.Tensor) -> torch.Tensor:
    """Inverse of `face_input` -> (N, 224, 224, 3) uint8, the face images that the scores use.

    The original truncates instead of rounding: about 1 value in 15 is one below the crop's.
    """
    mean, std = torch.tensor([MEAN, STD], device=faces.device)[..., None, None]
    pixels = (faces * std + mean).clamp(0, 1) * 255
    return pixels.byte().permute(0, 2, 3, 1)
