"""What follows every convolution of StyleGAN's generator: noise, bias, leaky ReLU, instance norm,
style; in as few passes over memory as possible.

Next to fast convolutions these passes are most of the time. Plain autograd would also keep a copy
after each of them, and on a CPU its backward of a norm is ten times slower than its forward; so the
whole chain is one differentiable step with its own backward, for training and for inference.

Measured against the plain path, CPU time in float32 on an EPYC: generator at 128 px 1.9 times, at
256 px 1.55 times, a training step 1.4 times as fast.
"""

import torch
import torch.nn.functional as F

from ohlora_lib.models import cpu

EPSILON = 1e-8  # inside the root of the instance norm
BLOCK = 4096  # pixels


def styled_activation(x, noise, noise_weight, bias, scale, shift, slope):
    """norm(leaky_relu(x + noise_weight * noise + bias)) * scale + shift. Overwrites x.

    x (N, C, H, W) channels last, in the dtype to compute in; noise (N or 1, 1, H, W);
    noise_weight and bias (C); scale and shift (N, C). Returns (N, C, H, W).
    """
    if not cpu.enabled():
        return plain_styled_activation(x, noise, noise_weight, bias, scale, shift, slope)
    inputs = (x, noise, noise_weight, bias, scale, shift, slope)
    if torch.is_grad_enabled():
        return _StyledActivation.apply(*inputs)[1]
    return _forward(*inputs, keep=False)[0]


def plain_styled_activation(x, noise, noise_weight, bias, scale, shift, slope):
    """The same, step by step with torch's own layers."""
    noise = noise.to(x.dtype) * noise_weight.to(x.dtype)[:, None, None]
    x = F.leaky_relu(x + noise + bias.to(x.dtype)[:, None, None], slope)
    exact = x.to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(exact, (2, 3), correction=0, keepdim=True)
    exact = (exact - mean) * torch.rsqrt(var + EPSILON)
    return (exact * scale[:, :, None, None] + shift[:, :, None, None]).to(x.dtype)


def _forward(x, noise, noise_weight, bias, scale, shift, slope, keep: bool):
    """`keep`: x holds the activation afterwards, as backward needs it."""
    noise_and_one = _with_ones(noise, x)
    weights = torch.stack([noise_weight, bias]).to(x.dtype)
    _rows(x).addmm_(noise_and_one, weights)
    F.leaky_relu_(x, slope)
    out, mean, inverse_std = _normalize(x, scale, shift, keep)
    return out, noise_and_one, mean, inverse_std


class _StyledActivation(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, noise, noise_weight, bias, scale, shift, slope):
        out, *kept = _forward(x, noise, noise_weight, bias, scale, shift, slope, keep=True)
        ctx.save_for_backward(x, *kept, scale)
        ctx.slope = slope
        ctx.mark_dirty(x)
        ctx.set_materialize_grads(False)
        return x, out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, _, grad):
        x, noise_and_one, mean, inverse_std, scale = ctx.saved_tensors
        grad = grad.contiguous(memory_format=torch.channels_last)
        pixels = x.shape[2] * x.shape[3]
        grad_shift = _sum_pixels(grad, scale.dtype)
        grad_scale = inverse_std * (_sum_pixels(grad * x, scale.dtype) - mean * grad_shift)
        # through the norm: a * grad + b * x + c, with one a, b and c per image and channel
        a = inverse_std * scale
        b = -a * inverse_std * grad_scale / pixels
        c = -a * grad_shift / pixels - b * mean
        a, b, c = (v.to(x.dtype)[:, :, None, None] for v in (a, b, c))
        grad = torch.addcmul(c, x, b).addcmul_(grad, a)
        grad = torch.ops.aten.leaky_relu_backward(grad, x, ctx.slope, True)
        grad_weight, grad_bias = (noise_and_one.T @ _rows(grad)).to(scale.dtype)
        return grad, None, grad_weight, grad_bias, grad_scale, grad_shift, None


def _rows(x):
    """(N, C, H, W) channels last -> (N H W, C), the same memory."""
    return x.permute(0, 2, 3, 1).view(-1, x.shape[1])


def _sum_pixels(x, dtype):
    """(N, C, H, W) channels last -> (N, C): sums of blocks, which are added in `dtype`."""
    n, channels, height, width = x.shape
    block = min(height * width, 256)
    sums = x.permute(0, 2, 3, 1).view(-1, block, channels).sum(dim=1)
    return sums.view(n, -1, channels).sum(dim=1, dtype=dtype)


def _with_ones(noise, x):
    """(N or 1, 1, H, W) -> (N H W, 2): each noise value, and a one for the bias."""
    noise = noise.to(x.dtype).expand(x.shape[0], -1, -1, -1)
    return torch.stack([noise, torch.ones_like(noise)], dim=-1).view(-1, 2)


def _normalize(x, scale, shift, keep: bool):
    """Instance norm with one scale and shift per image and channel: out, mean, 1 / std (N, C).

    The statistics are float32 whatever x is. On a CPU torch's var_mean takes thirty times as long
    as batch norm over the pixels of a channels-last map, so batch norm computes them here.
    """
    if x.device.type == "cpu" and x.dtype == torch.bfloat16:
        return _normalize_each(x, scale, shift, keep)
    mean, var = _statistics(x)
    inverse_std = torch.rsqrt(var + EPSILON)
    factor = scale * inverse_std
    added = torch.addcmul(shift, mean, factor, value=-1)
    factor, added = (v.to(x.dtype)[:, :, None, None] for v in (factor, added))
    out = torch.empty_like(x) if keep else x
    return torch.addcmul(added, x, factor, out=out), mean, inverse_std


def _normalize_each(x, scale, shift, keep: bool):
    """One batch norm per image: statistics and style in one call, computed in float32 inside.

    It may overwrite its input: it has the statistics before it writes.
    """
    out = torch.empty_like(x) if keep else x
    mean, inverse_std = torch.empty_like(scale), torch.empty_like(scale)
    for i in range(x.shape[0]):
        torch.ops.aten.native_batch_norm.out(
            *(x[i : i + 1], scale[i], shift[i], None, None, True, 0.0, EPSILON),
            out=out[i : i + 1],
            save_mean=mean[i],
            save_invstd=inverse_std[i],
        )
    return out, mean, inverse_std


def _statistics(x):
    """Mean and variance (N, C). A long running sum would lose digits, so on a CPU the statistics of
    blocks of each image are combined."""
    n, channels, height, width = x.shape
    if x.device.type != "cpu":
        exact = x.to(torch.promote_types(x.dtype, torch.float32))
        return torch.var_mean(exact, (2, 3), correction=0)[::-1]
    blocks = max(1, height * width // BLOCK)
    cut = x.permute(0, 2, 3, 1).view(n * blocks, 1, -1, channels).permute(0, 3, 1, 2)
    each = [torch.batch_norm_update_stats(c[None], None, None, 0.0) for c in cut]
    means, variances = (torch.stack(s).view(n, blocks, -1) for s in zip(*each, strict=True))
    mean = means.mean(dim=1)
    return mean, (variances + (means - mean[:, None]).square()).mean(dim=1)
