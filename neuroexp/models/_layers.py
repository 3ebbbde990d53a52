"""Layers that compute what PyTorch's own do and train faster on a processor."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import batch_norm, conv2d, max_pool2d, pad

aten = torch.ops.aten
CHUNK_BYTES = 6 << 20  # of one map: what a core's caches hold


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution that keeps the size and gives each input channel n_out / n_in filters of odd width.

    oneDNN's fast weight gradient takes no kernel wider than three, and the general one is ten times slower. So in training
    on a processor a wider kernel's gradient is computed three columns at a time.
    """

    def __init__(self, n_in: int, n_out: int, kernel: int):
        """`n_out` is a multiple of `n_in`."""
        super().__init__(n_in, n_out, kernel, padding=kernel // 2, groups=n_in)

    def forward(self, x: Tensor) -> Tensor:
        """Return the filtered maps (batch, n_out, height, width)."""
        if not self.training or x.device.type != "cpu" or self.kernel_size[1] <= 3 or self.out_channels != self.groups:
            return super().forward(x)
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        assert self.bias is not None
        return _Depthwise.apply(x.to(dtype), self.weight.to(dtype), self.bias.to(dtype))  # type: ignore[no-untyped-call]


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        d_x, d_weight = _convolve_back(x, weight, g, ctx.needs_input_grad[0])
        return d_x if ctx.needs_input_grad[0] else None, d_weight, g.sum(dim=(0, 2, 3))


class NormalisedPool(nn.Sequential):
    """Convolutions that keep the size, then ReLU, batch norm and a 2x2 max-pool, as ordinary modules in this order.

    In full-precision training on a processor the same numbers are computed otherwise: such a block is bound by memory, not
    arithmetic. A batch norm is one affine map per channel, so it can follow the pool (which takes the minimum where the
    slope is negative); the large maps are then summed and pooled a few windows at a time, while they are in the cache, and
    only a quarter of their values is normalised. The gradient goes the same way back.
    """

    def __init__(self, *convolutions: nn.Conv2d):
        """Take convolutions with odd kernels and biases; the last one's filters are the channels that come out."""
        channels = convolutions[-1].out_channels
        super().__init__(*convolutions, nn.ReLU(), nn.BatchNorm2d(channels), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised and pooled maps (batch, filter, height / 2, width / 2)."""
        if not self.training or x.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(x)  # type: ignore[no-untyped-call]
        convolutions: list[Any] = list(self)[:-3]
        norm: Any = self[-2]
        weights = [parameter for layer in convolutions for parameter in (layer.weight, layer.bias)]
        y, mean, variance, count = _NormalisedPool.apply(  # type: ignore[no-untyped-call]
            x, norm.weight, norm.bias, norm.eps, *weights
        )
        with torch.no_grad():
            norm.num_batches_tracked += 1
            norm.running_mean.lerp_(mean, norm.momentum)
            norm.running_var.lerp_(variance * (count / (count - 1)), norm.momentum)
        return y


class _NormalisedPool(torch.autograd.Function):
    """The block as a function of its input, the norm's weight and bias, and the convolutions' weights and biases."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, gamma: Tensor, beta: Tensor, eps: float, *parameters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, int]:
        flipped = bool((gamma < 0).any())
        sign = torch.where(gamma < 0, -1.0, 1.0)[:, None, None].to(x.dtype)
        chunk = max(1, CHUNK_BYTES // (len(gamma) * x.shape[2] * x.shape[3] * x.itemsize))
        maps, pooled, moments, counts = [], [], [], []
        for z in torch.split(x, chunk):
            for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
                z = _convolve(z, weight, bias)  # noqa: PLW2901 - one after the other
            z = z.contiguous(memory_format=torch.channels_last)  # noqa: PLW2901 - (b, F, C, W)
            rows = z.permute(0, 2, 3, 1).flatten(0, 2).relu()  # (b * C * W, F)
            moments.append(torch.stack(torch.batch_norm_update_stats(rows, None, None, 0.0)))
            counts.append(len(rows))
            pooled.append(max_pool2d(z * sign if flipped else z, 2))
            maps.append(z)
        small = torch.cat(pooled)
        small = (small * sign if flipped else small).relu_()
        # moments of the chunks together, in double precision (Chan, Golub and LeVeque, 1983)
        share = (torch.tensor(counts, dtype=torch.float64) / sum(counts))[:, None]
        means, variances = torch.stack(moments, dim=1).double()
        mean = (means * share).sum(dim=0)
        variance = ((variances + (means - mean) ** 2) * share).sum(dim=0)
        mean, variance = mean.to(gamma.dtype), variance.to(gamma.dtype)
        ctx.eps, ctx.count, ctx.chunk, ctx.flipped, ctx.n_parameters = eps, sum(counts), chunk, flipped, len(parameters)
        ctx.save_for_backward(x, gamma, mean, variance, small, sign, *parameters, *maps)
        ctx.mark_non_differentiable(mean, variance)
        return batch_norm(small, mean, variance, gamma, beta, training=False, eps=eps), mean, variance, sum(counts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        x, gamma, mean, variance, small, sign, *rest = ctx.saved_tensors
        weights, maps = rest[: ctx.n_parameters], rest[ctx.n_parameters :]
        dy = dy.contiguous(memory_format=torch.channels_last)
        _, d_gamma, d_beta = aten.native_batch_norm_backward(
            dy, small, gamma, mean, variance, None, None, False, ctx.eps, [False, True, True]
        )
        # every value of a map moves mean and variance, so each has a gradient of slope * value + offset beside its own
        per_std = (variance + ctx.eps).rsqrt()
        scale = gamma * per_std
        slope = -scale * d_gamma * per_std / ctx.count
        offset = -scale * d_beta / ctx.count - slope * mean
        scale, slope, offset = (vector[:, None, None] for vector in (scale, slope, offset))
        gradients = [torch.zeros_like(weight) for weight in weights]
        d_x = []
        for part, d_part, z in zip(torch.split(x, ctx.chunk), torch.split(dy, ctx.chunk), maps, strict=True):
            pooled_from = z * sign if ctx.flipped else z
            _, places = aten.max_pool2d_with_indices(pooled_from, [2, 2])
            g = aten.max_pool2d_with_indices_backward(
                d_part * scale, pooled_from, [2, 2], [2, 2], [0, 0], [1, 1], False, places
            )
            g.addcmul_(z, slope).add_(offset)
            g = aten.threshold_backward(g, z, 0)  # the ReLU
            inputs = [part]
            for weight, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
                inputs.append(_convolve(inputs[-1], weight, bias))
            for number in reversed(range(len(inputs))):
                wanted = number > 0 or ctx.needs_input_grad[0]
                gradients[2 * number + 1] += g.sum(dim=(0, 2, 3))
                g, d_weight = _convolve_back(inputs[number], weights[2 * number], g, wanted)
                gradients[2 * number] += d_weight
            d_x.append(g)
        return torch.cat(d_x) if ctx.needs_input_grad[0] else None, d_gamma, d_beta, None, *gradients


def _convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=x.shape[1] // weight.shape[1])


def _convolve_back(x: Tensor, weight: Tensor, g: Tensor, wanted: bool) -> tuple[Tensor, Tensor]:
    """Return the gradients of input (when `wanted`) and weight of `_convolve`."""
    half = weight.shape[-1] // 2
    groups = x.shape[1] // weight.shape[1]

    def back(x: Tensor, weight: Tensor, padding: list[int], wants: list[bool]) -> tuple[Tensor, Tensor]:
        d_x, d_weight, _ = aten.convolution_backward(
            g, x, weight, None, [1, 1], padding, [1, 1], False, [0, 0], groups, wants
        )
        return d_x, d_weight

    if groups == 1 or len(weight) != groups or weight.shape[-1] <= 3:
        return back(x, weight, [half, half], [wanted, True, False])
    padded, width = pad(x, (half, half)), g.shape[-1]
    columns = []
    for low in range(0, weight.shape[-1], 3):
        some = weight[..., low : low + 3]
        stretch = padded[..., low : low + width + some.shape[-1] - 1]
        columns.append(back(stretch, some, [half, 0], [False, True, False])[1])
    d_x = conv2d(g, weight.flip(2, 3), padding=half, groups=groups) if wanted else g
    return d_x, torch.cat(columns, dim=-1)
