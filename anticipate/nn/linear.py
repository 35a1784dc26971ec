"""Linear maps, on the CPU through oneDNN.

`torch.nn.functional.linear` multiplies float32 matrices with MKL, which holds back on processors
of other makers than its own: there oneDNN takes less than half as long, forward and backward.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

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
    """Return x weight^T + bias, with oneDNN for float32 on the CPU."""
    multiply = _onednn if _suits_onednn(x, weight) else F.linear
    return multiply(x, weight, bias)


def _suits_onednn(x: Tensor, weight: Tensor) -> bool:
    """Return whether both are float32 on the CPU, and shall stay so under autocast."""
    on_cpu = _ONEDNN_FOUND and x.device.type == "cpu"
    precise = x.dtype == weight.dtype == torch.float32
    return on_cpu and precise and not torch.is_autocast_enabled("cpu")


@torch.library.custom_op("anticipate::linear", mutates_args=())
def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@_onednn.register_fake
def _fake(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return x.new_empty(*x.shape[:-1], weight.shape[0])


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _differentiate(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    need_x, need_weight, need_bias = ctx.needs_input_grad
    # oneDNN multiplies matrices that lie apart, as one step of many clips does, 1000 times slower.
    rows, grads = (tensor.contiguous().flatten(end_dim=-2) for tensor in (x, grad))
    return (
        linear(grads, weight.T).view_as(x) if need_x else None,
        _outer(grads, rows) if need_weight else None,
        grads.sum(0) if need_bias else None,
    )


def _outer(
    left: Float[Tensor, "rows out_features"], right: Float[Tensor, "rows in_features"]
) -> Float[Tensor, "out_features in_features"]:
    """Return left^T right."""
    # oneDNN is at its best when the wider factor takes the place of the weight.
    if left.shape[1] > right.shape[1]:
        return linear(right.T, left.T).T
    return linear(left.T, right.T)


_onednn.register_autograd(_differentiate, setup_context=_save)
