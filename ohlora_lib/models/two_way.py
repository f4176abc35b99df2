"""The two-way transformer of FaceXFormer's decoder, as in SAM: tokens and image read each other."""

import torch
import torch.nn.functional as F
from torch import nn

from ohlora_lib.models.cpu.onednn import Linear


class MLP(nn.Module):
    """(..., width) -> (..., outputs): three linear layers, ReLU between."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.layers = nn.ModuleList(
            [Linear(width, width), Linear(width, width), Linear(width, outputs)]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, last = self.layers
        return last(F.relu(second(F.relu(first(x)))))


class Attention(nn.Module):
    """Queries (N, Q, C), keys and values (N, K, C) -> (N, Q, C), computed at C / `downsample`."""

    def __init__(self, width: int, heads: int, downsample: int = 1):
        super().__init__()
        self.heads, inner = heads, width // downsample
        self.q_proj = Linear(width, inner)
        self.k_proj = Linear(width, inner)
        self.v_proj = Linear(width, inner)
        self.out_proj = Linear(inner, width)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        projected = (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in projected)
        x = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(x.transpose(1, 2).flatten(2))


class TokenMLP(nn.Module):
    """(N, tokens, width) -> the same shape."""

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.lin1 = Linear(width, hidden)
        self.lin2 = Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.lin2(F.relu(self.lin1(x)))


class TwoWayBlock(nn.Module):
    """Tokens among themselves, tokens to image, tokens' MLP, image to tokens; a norm after each.

    In the first block the tokens still are their own positions: its self-attention adds none and
    has no residual (as in SAM).
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
        names: torch.Tensor,
        positions: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.first:
            tokens = self.norm1(self.self_attn(tokens, tokens, tokens))
        else:
            named = tokens + names
            tokens = self.norm1(tokens + self.self_attn(named, named, tokens))
        placed = image + positions
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + names, placed, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(placed, tokens + names, tokens))
        return tokens, image


class TwoWayTransformer(nn.Module):
    """Tokens (N, T, C), image (N, cells, C), its positions (1, cells, C) -> tokens, image.

    The tokens as they came in serve as their own positions in every layer.
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
        names = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, names, positions)
        final = self.final_attn_token_to_image(tokens + names, image + positions, image)
        return self.norm_final_attn(tokens + final), image
