"""Bidirectional Mamba layer with S6+ (MixANT Sec. 3, Eq. 7-10).

Glossary: d_inner = D = expand * d_model channels; d_state = N; dt_rank = R = ceil(d_model / 16);
    delta = step size.
The layer follows the two-branch reading: shared input and output projections, everything else once
per direction.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anticipate.nn.block import TokenMixer
from anticipate.nn.forget_gate import ForgetGate
from anticipate.nn.fused import causal_conv_silu, gated_sum
from anticipate.nn.linear import Linear, linear
from anticipate.nn.mixture import ForgetGateBank
from anticipate.nn.scan import selective_scan
from anticipate.nn.scan.backends import AUTO, network_backend


class S6Plus(nn.Module):
    """One direction: convolution, input-dependent delta, B and C, and a scan with the gate's A.

    Args:
        d_inner: Number of channels D.
        d_state: State size N per channel.
        d_conv: Width of the depth-wise convolution.
        dt_rank: Rank R of the step-size projection.
        reverse: Run from the last token to the first.
        forget_gate: Builds what makes A from d_inner and d_state.
        scan_backend: What runs the scan; the variable ANTICIPATE_SCAN_BACKEND wins over it.

    Raises:
        ConfigError: An unknown backend.
    """

    def __init__(
        self,
        d_inner: int,
        d_state: int,
        d_conv: int,
        dt_rank: int,
        reverse: bool,
        forget_gate: Callable[[int, int], ForgetGate],
        scan_backend: str = AUTO,
    ) -> None:
        super().__init__()
        self.reverse = reverse
        self.scan: Callable[..., Tensor] = partial(
            selective_scan, backend=network_backend(scan_backend)
        )
        self.sizes = (dt_rank, d_state, d_state)
        bound = d_conv**-0.5
        self.conv_weight = nn.Parameter(torch.empty(d_inner, d_conv).uniform_(-bound, bound))
        self.conv_bias = nn.Parameter(torch.empty(d_inner).uniform_(-bound, bound))
        self.x_proj = Linear(d_inner, sum(self.sizes), bias=False)
        self.dt_proj = Linear(dt_rank, d_inner)
        self.bank = forget_gate(d_inner, d_state)
        self.D = nn.Parameter(torch.ones(d_inner))
        self._init_step_sizes(dt_rank)

    def _init_step_sizes(self, dt_rank: int, smallest: float = 1e-3, largest: float = 0.1) -> None:
        """Start softplus(bias) log-uniform in [smallest, largest], as Mamba does."""
        nn.init.uniform_(self.dt_proj.weight, -(dt_rank**-0.5), dt_rank**-0.5)
        uniform = torch.rand(self.dt_proj.bias.shape)
        delta = torch.exp(uniform * math.log(largest / smallest) + math.log(smallest)).clamp(
            min=1e-4
        )
        with torch.no_grad():
            self.dt_proj.bias.copy_(delta + torch.log(-torch.expm1(-delta)))

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_inner"],
        mask: Float[Tensor, "batch tokens"],
        gamma: Float[Tensor, "batch experts"] | None = None,
    ) -> Float[Tensor, "batch tokens d_inner"]:
        """Return the output of this direction, before the gate.

        `x` must be zero on padding. The convolution's bias makes padding non-zero again, hence the
        second mask: a scan that starts in padding keeps the state zero until the first valid token.
        """
        x = causal_conv_silu(x, self.conv_weight, self.conv_bias, mask, self.reverse)
        dt, B, C = self.x_proj(x).split(self.sizes, dim=-1)
        delta = linear(dt, self.dt_proj.weight)
        y = self.scan(
            x.transpose(1, 2),
            delta.transpose(1, 2),
            self.bank(x, gamma),
            B.transpose(1, 2),
            C.transpose(1, 2),
            D=self.D,
            delta_bias=self.dt_proj.bias,
            delta_softplus=True,
            reverse=self.reverse,
        )
        return y.transpose(1, 2)


class BidirectionalMamba(TokenMixer):
    """Eq. 7-10: out_proj((y_forward + y_backward) * SiLU(z)).

    Args:
        d_model: Width of the tokens.
        d_state: State size N per channel.
        d_conv: Width of the depth-wise convolution.
        expand: d_inner / d_model.
        forget_gate: Builds what makes A from d_inner and d_state, once per direction; by default
            one matrix.
        scan_backend: What runs the scans; the variable ANTICIPATE_SCAN_BACKEND wins over it.

    Raises:
        ConfigError: An unknown backend.
    """

    def __init__(
        self,
        d_model: int,
        d_state: int = 16,
        d_conv: int = 3,
        expand: int = 2,
        forget_gate: Callable[[int, int], ForgetGate] = ForgetGateBank,
        scan_backend: str = AUTO,
    ) -> None:
        super().__init__()
        d_inner, dt_rank = expand * d_model, math.ceil(d_model / 16)
        self.in_proj = Linear(d_model, 2 * d_inner, bias=False)
        self.directions = nn.ModuleList(
            S6Plus(d_inner, d_state, d_conv, dt_rank, reverse, forget_gate, scan_backend)
            for reverse in (False, True)
        )
        self.out_proj = Linear(d_inner, d_model, bias=False)

    def mix(
        self,
        u: Float[Tensor, "batch tokens d_model"],
        valid: Bool[Tensor, "batch tokens"],
        gamma: Float[Tensor, "routers batch experts"] | None = None,
    ) -> Float[Tensor, "batch tokens d_inner"]:
        """Return what `out_proj` reads: zero on padding if `u` is, as it must be.

        Args:
            u: Normalised tokens.
            valid: False on padding, which never changes the output of valid tokens.
            gamma: Router probabilities: one row for both directions, or one row each; None for
                static A.
        """
        mask = valid.to(u.dtype)
        x, z = self.in_proj(u).chunk(2, dim=-1)
        gammas = (None, None) if gamma is None else (gamma[0], gamma[-1])
        forward, backward = self.directions
        return gated_sum(forward(x, mask, gammas[0]), backward(x, mask, gammas[1]), z)
