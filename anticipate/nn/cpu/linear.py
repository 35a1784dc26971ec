"""Linear maps, on the CPU through oneDNN.

`torch.nn.functional.linear` multiplies float32 matrices with MKL, which holds back on processors
of other makers than its own: there oneDNN takes less than half as long, forward and backward.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from anticipate.errors import ConfigError

_ONEDNN_FOUND = hasattr(torch.ops.mkldnn, "_linear_pointwise")
"""Whether torch has the operator that its own compiler uses for linear maps on the CPU."""


class Linear(nn.Linear):
    """`torch.nn.Linear` that computes with `linear`; parameters have the same names."""

    def forward(
        self, x: Float[Tensor, "*batch in_features"]
    ) -> Float[Tensor, "*batch out_features"]:
        """Return x weight^T + bias."""
        return linear(x, self.weight, self.bias)


def linear(
    x: Float[Tensor, "*batch in_features"],
    weight: Float[Tensor, "out_features in_features"],
    bias: Float[Tensor, " out_features"] | None = None,
) -> Float[Tensor, "*batch out_features"]:
    """Return x weight^T + bias, with oneDNN for float32 on the CPU.

    Raises:
        ConfigError: `x` has another width than the weight.
    """
    if x.shape[-1] != weight.shape[1]:
        raise ConfigError(
            f"{x.shape[-1]} channels found, {weight.shape[1]} expected: the network was built for "
            "features of another width"
        )
    if not _suits_onednn(x, weight):
        return F.linear(x, weight, bias)
    differentiable = torch.is_grad_enabled() and any(
        tensor is not None and tensor.requires_grad for tensor in (x, weight, bias)
    )
    return (_OneDNN.apply if differentiable else _multiply)(x, weight, bias)


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Return whether both are float32 on the CPU, and shall stay so under autocast.

    torch.compile chooses by itself among the ways to multiply; oneDNN refuses matrices without
    columns.
    """
    on_cpu = _ONEDNN_FOUND and x.device.type == "cpu" and not torch.compiler.is_compiling()
    precise = x.dtype == weight.dtype == torch.float32 and weight.numel() > 0
    return on_cpu and precise and not torch.is_autocast_enabled("cpu")


class _OneDNN(torch.autograd.Function):
    """oneDNN's product with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _multiply(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        # Matrices that lie apart, as one step of many clips does, take oneDNN 1000 times as long.
        rows, grads = (tensor.contiguous().flatten(end_dim=-2) for tensor in (x, grad))
        return (
            _multiply(grads, weight.T).view_as(x) if need_x else None,
            _outer(grads, rows) if need_weight else None,
            grads.sum(0) if need_bias else None,
        )


def _multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


def _outer(
    left: Float[Tensor, "rows out_features"], right: Float[Tensor, "rows in_features"]
) -> Float[Tensor, "out_features in_features"]:
    """Return left^T right."""
    # oneDNN is at its best when the wider factor takes the place of the weight.
    if left.shape[1] > right.shape[1]:
        return _multiply(right.T, left.T).T
    return _multiply(left.T, right.T)
