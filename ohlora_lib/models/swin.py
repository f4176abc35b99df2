"""Swin Transformer (v1), the backbone of FaceXFormer; keys as torchvision's `swin_b`."""

import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.cpu.onednn import Linear

NORM_EPS = 1e-5


def relative_positions(window: int) -> torch.Tensor:
    """(window^4,) for every pair of a window's cells, the row of their offset in the bias table."""
    cells = torch.cartesian_prod(torch.arange(window), torch.arange(window))
    offset = cells[:, None] - cells[None, :] + window - 1  # (cells, cells, 2), from 0
    return (offset[..., 0] * (2 * window - 1) + offset[..., 1]).flatten()


def window_order(side: int, window: int) -> torch.Tensor:
    """(side^2,) the row-major cells of a square map, window after window."""
    cells = torch.arange(side * side).view(side // window, window, side // window, window)
    return cells.transpose(1, 2).flatten()


def shifted_windows(side: int, window: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """For maps in window order, windows moved by half their size: `enter`, `leave`, `mask`.

    `enter` gathers the cells the moved windows take in, `leave` puts them back; `mask` (windows,
    cells, cells) keeps apart what only the wrapping around the edge has brought together.
    """
    shift, order = window // 2, window_order(side, window)
    moved = torch.arange(side * side).view(side, side).roll((-shift, -shift), (0, 1)).flatten()
    enter = torch.argsort(order)[moved[order]]
    line = torch.arange(side)
    band = (line >= side - window).long() + (line >= side - shift).long()
    region = (band[:, None] * 3 + band[None, :]).flatten()[order].view(-1, window * window)
    mask = torch.where(region[:, :, None] == region[:, None, :], 0.0, -100.0)
    return enter, torch.argsort(enter), mask


class WindowAttention(nn.Module):
    """(N, cells, C) in window order -> the same shape: attention inside each window."""

    def __init__(self, channels: int, heads: int, window: int):
        super().__init__()
        self.heads, self.window = heads, window
        table = torch.empty((2 * window - 1) ** 2, heads)
        self.relative_position_bias_table = nn.Parameter(nn.init.trunc_normal_(table, std=0.02))
        self.register_buffer("relative_position_index", relative_positions(window))
        self.qkv = Linear(channels, 3 * channels)
        self.proj = Linear(channels, channels)

    def bias(self, mask: torch.Tensor | None) -> torch.Tensor:
        """(1 or windows, heads, cells, cells) what is added to the attention's logits."""
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
        # Positions 1, 2 and 4 of the published Sequential are the GELU and dropouts.
        self.mlp = nn.Sequential(
            Linear(channels, 4 * channels, gelu=True),
            nn.Identity(),
            nn.Identity(),
            Linear(4 * channels, channels),
        )

    def forward(self, x: torch.Tensor, shift: tuple[torch.Tensor, ...] | None) -> torch.Tensor:
        if shift is None:
            x = x + self.attn(self.norm1(x), None)
        else:
            enter, leave, mask = shift
            x = x + self.attn(self.norm1(x)[:, enter], mask)[:, leave]
        return x + self.mlp(self.norm2(x))


class Stage(nn.Sequential):
    """(N, side, side, C) -> the same shape: blocks, every second one with shifted windows."""

    def __init__(self, channels: int, depth: int, heads: int, window: int, side: int):
        super().__init__(*(Block(channels, heads, window) for _ in range(depth)))
        self.shifts = side > window  # a map that is one window has nowhere to shift it
        order = window_order(side, window)
        tables = (order, torch.argsort(order), *shifted_windows(side, window))
        names = ("enter", "leave", "shift_enter", "shift_leave", "shift_mask")
        for name, table in zip(names, tables, strict=True):
            self.register_buffer(name, table, persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shape = x.shape
        shift = (self.shift_enter, self.shift_leave, self.shift_mask)
        # The sum that all blocks add to keeps its digits, whatever they compute in.
        x = x.flatten(1, 2)[:, self.enter].to(self[0].norm1.weight.dtype)
        for number, block in enumerate(self):
            x = block(x, shift if self.shifts and number % 2 else None)
        return x[:, self.leave].view(shape)


class PatchMerging(nn.Module):
    """(N, side, side, C) -> (N, side / 2, side / 2, 2 C)."""

    def __init__(self, channels: int):
        super().__init__()
        self.reduction = Linear(4 * channels, 2 * channels, bias=False)
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
    """`side` px images' backbone: [0] patch embedding, stage, merging, stage, ...; [1] final norm.

    The final norm is part of the checkpoint but of no output that FaceXFormer uses.
    """
    layers: list[nn.Module] = [PatchEmbed(channels)]
    side //= 4
    for stage, (depth, head) in enumerate(zip(depths, heads, strict=True)):
        if stage:
            layers.append(PatchMerging(channels))
            channels, side = 2 * channels, side // 2
        if side % window:
            raise ValueError(
                f"stage {stage}: a {side} x {side} map has no whole {window} px windows"
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
