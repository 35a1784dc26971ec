"""MixANT: bidirectional Mamba whose forget matrix is chosen per video (Wasim et al., 2025).

Glossary, the code's names and the paper's:
    D = d_inner = expand * d_model    channels of the scan
    N = d_state                       states per channel
    R = dt_rank = ceil(d_model / 16)  rank of the step sizes delta
    E = num_experts                   forget matrices of a direction: A_e = -exp(A_log_e)
    gamma                             probabilities of the router
    x, z                              the branches of the layer: the scanned one, and its gate

From the smallest part to the network: router (Eq. 5), forget gates (Eq. 6), S6+ and the
bidirectional layer (Eq. 7-10), the network (Sec. 4.2), then the measures of its routers
(Eq. 17-18). The block around the layer (Eq. 14-15), inputs and head are in `nn/denoiser.py`.

Published sizes: 1,588,720 parameters on Breakfast; 1,388,272 with one expert, which is MANTA; 8.0 M
and 2.3 M when A is computed from every token instead (Tab. 3).
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError
from anticipate.nn.cpu.linear import Linear, linear
from anticipate.nn.denoiser import (
    BlockReading,
    BlockStack,
    DenoisingBlock,
    RoutingContext,
    TokenMixer,
)
from anticipate.nn.fused import causal_conv_silu, gated_sum
from anticipate.nn.scan import ScanInputs, selective_scan, selective_scan_pair
from anticipate.nn.scan.backends import AUTO, network_backend

__all__ = ["MixANT"]

Selection = Literal["straight_through", "literal", "soft"]
ExpertInit = Literal["identical", "spread"]
ForgetGateKind = Literal["mixture", "mlp", "query_key"]

METHODS = {"mixture": "MixANT", "mlp": "Large MLP", "query_key": "Query-Key"}
"""What Tab. 3 calls a network by what makes its forget matrices."""


class Router(nn.Module):
    """Eq. 5: gamma = softmax(W_g mean(x)), the mean taken over the tokens of the routing context.

    Args:
        d_model: Width of the tokens.
        num_experts: Number of experts E.
    """

    def __init__(self, d_model: int, num_experts: int) -> None:
        super().__init__()
        self.proj = nn.Linear(d_model, num_experts, bias=False)

    def forward(
        self, u: Float[Tensor, "batch tokens d_model"], context: Bool[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch experts"]:
        """Return gamma; tokens outside `context` have no influence."""
        weights = context.to(u.dtype)
        total = (weights.unsqueeze(1) @ u).squeeze(1)  # batch d_model
        mean = total / weights.sum(dim=1, keepdim=True).clamp(min=1)
        return self.proj(mean).softmax(dim=-1)


class ForgetGate(nn.Module, ABC):
    """Makes the forget matrix of one scan direction."""

    @abstractmethod
    def forward(
        self,
        x: Float[Tensor, "batch tokens d_inner"],
        gamma: Float[Tensor, "batch experts"] | None = None,
    ) -> (
        Float[Tensor, "d_inner d_state"]
        | Float[Tensor, "batch d_inner d_state"]
        | Float[Tensor, "batch d_inner d_state tokens"]
    ):
        """Return A < 0: one for all, one for each video, or one for each token.

        Args:
            x: What the scan reads.
            gamma: Router probabilities of a mixture.
        """


def s4d_real(d_inner: int, d_state: int) -> Float[Tensor, "d_inner d_state"]:
    """Return the A_log that Mamba starts with: state n of every channel forgets at rate n."""
    return torch.arange(1, d_state + 1, dtype=torch.float32).log().repeat(d_inner, 1)


class ForgetGateBank(ForgetGate):
    """Bank of E forget matrices of one scan direction, and Eq. 6: the choice among them.

    Args:
        d_inner: Number of channels D.
        d_state: State size N per channel.
        num_experts: Number of experts E; a bank of one is Mamba's own static A.
        selection: `straight_through`: the expert of the largest gamma, with the gradient of gamma
            passed through;
            `literal`: the same without that gradient; `soft`: the gamma-weighted mean of all
                experts.
        start: How experts start: `identical`, all as Mamba's A, or `spread`: expert e forgets
            exp(s_e) times as fast, s_e evenly in [-1, 1]. Identical ones have the same output, so
            that the router gets no gradient from the reconstruction until training has told them
            apart.
    """

    def __init__(
        self,
        d_inner: int,
        d_state: int,
        num_experts: int = 1,
        selection: Selection = "straight_through",
        start: ExpertInit = "identical",
    ) -> None:
        super().__init__()
        self.selection = selection
        A_log = s4d_real(d_inner, d_state).repeat(num_experts, 1, 1)
        if start == "spread" and num_experts > 1:
            A_log = A_log + torch.linspace(-1, 1, num_experts).reshape(-1, 1, 1)
        self.A_log = nn.Parameter(A_log)

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_inner"],
        gamma: Float[Tensor, "batch experts"] | None = None,
    ) -> Float[Tensor, "d_inner d_state"] | Float[Tensor, "batch d_inner d_state"]:
        """Return the forget matrix of each video; without gamma the only one, shared by all."""
        A = -self.A_log.exp()
        if gamma is None:
            return A[0]
        if self.selection == "soft":
            return einsum(gamma, A, "batch e, e d n -> batch d n")
        chosen = A[gamma.argmax(dim=-1)]
        if self.selection == "literal" or not gamma.requires_grad:
            return chosen
        # Zero in value, so the forward pass is Eq. 6 to the bit; dL/dgamma_e = <dL/dA, A_e> in the
        # backward pass.
        return chosen + einsum(gamma - gamma.detach(), A.detach(), "batch e, e d n -> batch d n")


class MLPForgetGate(ForgetGate):
    """A(x_l) = -exp(log n + MLP(x_l)), Tab. 3's "Large MLP": 8,023,792 parameters on Breakfast.

    The paper gives kind and size of its two gates without experts alone (Sec. 1 and 8, Tab. 3);
    their layout follows from the sizes, at width 64 and with 12 such blocks.

    Args:
        d_inner: Number of channels D; also the hidden width.
        d_state: State size N per channel.
    """

    start: Tensor

    def __init__(self, d_inner: int, d_state: int) -> None:
        super().__init__()
        self.register_buffer("start", s4d_real(d_inner, d_state), persistent=False)
        self.mlp = nn.Sequential(
            Linear(d_inner, d_inner, bias=False),
            nn.GELU(),
            Linear(d_inner, d_inner * d_state, bias=False),
        )

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_inner"],
        gamma: Float[Tensor, "batch experts"] | None = None,
    ) -> Float[Tensor, "batch d_inner d_state tokens"]:
        """Return A of every token; there is no gamma."""
        shift = rearrange(self.mlp(x), "batch l (d n) -> batch d n l", d=len(self.start))
        return -torch.exp(self.start.unsqueeze(-1) + shift)


class QueryKeyForgetGate(ForgetGate):
    """A(x_l) = -exp(A_log + q(x_l) k(x_l)^T / sqrt(rank)): 2,273,008 parameters on Breakfast.

    Queries belong to channels, keys to states. Tab. 3 calls it "Query-Key".

    Args:
        d_inner: Number of channels D.
        d_state: State size N per channel.
        rank: Width of a query and of a key.
    """

    def __init__(self, d_inner: int, d_state: int, rank: int = 2) -> None:
        super().__init__()
        self.rank = rank
        self.A_log = nn.Parameter(s4d_real(d_inner, d_state))
        self.query = Linear(d_inner, d_inner * rank, bias=False)
        self.key = Linear(d_inner, d_state * rank, bias=False)

    def forward(
        self,
        x: Float[Tensor, "batch tokens d_inner"],
        gamma: Float[Tensor, "batch experts"] | None = None,
    ) -> Float[Tensor, "batch d_inner d_state tokens"]:
        """Return A of every token; there is no gamma."""
        queries = rearrange(self.query(x), "batch l (d rank) -> batch l d rank", rank=self.rank)
        keys = rearrange(self.key(x), "batch l (n rank) -> batch l n rank", rank=self.rank)
        scores = einsum(queries, keys, "batch l d rank, batch l n rank -> batch d n l")
        return -torch.exp(self.A_log.unsqueeze(-1) + scores * self.rank**-0.5)


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
        self.reverse, self._backend = reverse, network_backend(scan_backend)
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
        """Return the output of this direction, before the gate."""
        y = selective_scan(*self.scan_inputs(x, mask, gamma), backend=self._backend)
        return y.transpose(1, 2)

    def scan_inputs(
        self,
        x: Float[Tensor, "batch tokens d_inner"],
        mask: Float[Tensor, "batch tokens"],
        gamma: Float[Tensor, "batch experts"] | None = None,
    ) -> ScanInputs:
        """Return what the scan of this direction reads.

        `x` must be zero on padding. The convolution's bias makes padding non-zero again, hence the
        second mask: a scan that starts in padding keeps the state zero until the first valid token.
        """
        x = causal_conv_silu(x, self.conv_weight, self.conv_bias, mask, self.reverse)
        dt, B, C = self.x_proj(x).split(self.sizes, dim=-1)
        delta = linear(dt, self.dt_proj.weight)
        return ScanInputs(
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


class BidirectionalMamba(TokenMixer):
    """Eq. 7-10: out_proj((y_forward + y_backward) * SiLU(z)).

    The two-branch reading: input and output projections are shared, all else is once per
    direction.

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
        directions = [cast(S6Plus, direction) for direction in self.directions]
        scans = (
            direction.scan_inputs(x, mask, one)
            for direction, one in zip(directions, gammas, strict=True)
        )
        backend = directions[0]._backend
        y_forward, y_backward = selective_scan_pair(scans, together=x.is_cuda, backend=backend)
        return gated_sum(y_forward.transpose(1, 2), y_backward.transpose(1, 2), z)


class MixANT(BlockStack):
    """Denoiser of MixANT; with one expert, of MANTA.

    Args:
        num_classes: Number of action classes C; set from the data.
        feature_dim: Width of the features; set from the data.
        d_model: Width of the tokens.
        num_layers: Number of blocks K.
        num_static_layers: First blocks whose forget matrices are plain parameters, K0.
        num_experts: Forget matrices per mixture block and direction, E; 1 is MANTA.
        router: `unified`: one gamma for both directions; `independent`: one each.
        routing_context: Tokens the router averages: the `observed` ones or the `full` sequence.
        selection: `straight_through` (hard choice, gradient to the router), `literal` (hard choice,
            the router learns from load balancing alone) or `soft` (weighted mean of the experts).
        expert_init: How experts start: `identical`, or `spread`: A_log_e = log n + s_e with s_e
            evenly in [-1, 1]; the paper does not tell.
        forget_gate: What makes A after the static blocks: a `mixture` of experts, or, without
            experts and for every token, a large `mlp` or products of queries and keys
            (`query_key`).
        block: Reading of Eq. 14-15: `manta` (one residual) or `prenorm2` (two residuals, as in a
            transformer).
        d_state: State size N per channel.
        d_conv: Width of the depth-wise convolution.
        expand: d_inner / d_model.
        self_conditioning: Whether the previous estimate of x_0 is an input.
        dropout: Dropout in the blocks; the public code of the predecessors lists it but never
            applies it.
        channel_dropout: Dropout of whole class channels of x_t; likewise.
        scan_backend: What runs the scans: `auto` (the best for the device), `reference`, `cpu`,
            `triton` or `mamba_ssm`; one that is missing or unable gives way to auto, with a notice.
            The variable ANTICIPATE_SCAN_BACKEND wins.

    Raises:
        ConfigError: For sizes that do not fit together, or a word that is not offered.
    """

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        d_model: int = 64,
        num_layers: int = 15,
        num_static_layers: int = 3,
        num_experts: int = 5,
        router: Literal["unified", "independent"] = "unified",
        routing_context: RoutingContext = "observed",
        selection: Selection = "straight_through",
        expert_init: ExpertInit = "identical",
        forget_gate: ForgetGateKind = "mixture",
        block: BlockReading = "manta",
        d_state: int = 16,
        d_conv: int = 3,
        expand: int = 2,
        self_conditioning: bool = True,
        dropout: float = 0.0,
        channel_dropout: float = 0.0,
        scan_backend: str = AUTO,
    ) -> None:
        if num_experts < 1:
            raise ConfigError(f"num_experts must be at least 1, got {num_experts}")
        adaptive = forget_gate != "mixture" or num_experts > 1
        first_adaptive = num_static_layers if adaptive else num_layers
        gate = _gate(forget_gate, num_experts, selection, expert_init)
        num_routers = {"unified": 1, "independent": 2}[router] if forget_gate == "mixture" else 0

        def make_block(layer: int) -> DenoisingBlock:
            static = layer < first_adaptive
            return DenoisingBlock(
                BidirectionalMamba(
                    d_model,
                    d_state,
                    d_conv,
                    expand,
                    ForgetGateBank if static else gate,
                    scan_backend,
                ),
                d_model,
                [Router(d_model, num_experts) for _ in range(0 if static else num_routers)],
                routing_context,
                block,
                dropout,
            )

        super().__init__(
            num_classes,
            feature_dim,
            d_model,
            num_layers,
            make_block,
            self_conditioning,
            channel_dropout,
        )
        if not 0 <= num_static_layers <= num_layers:
            raise ConfigError(
                f"num_static_layers must lie between 0 and num_layers ({num_layers}), "
                f"got {num_static_layers}"
            )
        self.method = METHODS[forget_gate] if first_adaptive < num_layers else "MANTA"


def _gate(
    kind: ForgetGateKind, num_experts: int, selection: Selection, start: ExpertInit
) -> Callable[[int, int], ForgetGate]:
    if kind == "mixture":
        return partial(ForgetGateBank, num_experts=num_experts, selection=selection, start=start)
    return {"mlp": MLPForgetGate, "query_key": QueryKeyForgetGate}[kind]


def load_balancing_loss(
    gamma: Float[Tensor, "blocks routers batch experts"],
    shift: Float[Tensor, "blocks routers experts"] | float = 0.0,
) -> Float[Tensor, ""]:
    """Return Eq. 17-18: the sum over blocks of KL(expert usage || uniform).

    Usage is the sum of gamma over the batch, normalised. The result is 0 for balanced usage and at
    most blocks * ln(experts). Independent routers (two per block) count half each, so that lambda
    keeps its scale.

    Args:
        gamma: Router probabilities.
        shift: What the usage of the batch lacks to the one that is balanced, such as an average
            over steps; without gradient.
    """
    num_experts = gamma.shape[-1]
    usage = gamma.mean(dim=2) + shift
    divergence = (torch.special.xlogy(usage, usage) + usage * math.log(num_experts)).sum(dim=-1)
    return divergence.mean(dim=1).sum()


def expert_usage(
    gamma: Float[Tensor, "blocks routers batch experts"],
) -> Float[Tensor, "blocks routers experts"]:
    """Return the share of videos for which each expert has the largest gamma."""
    return F.one_hot(gamma.argmax(dim=-1), gamma.shape[-1]).to(gamma.dtype).mean(dim=2)


def router_entropy(gamma: Float[Tensor, "blocks routers batch experts"]) -> Float[Tensor, ""]:
    """Return the mean entropy of gamma in nats: ln(experts) when undecided, 0 when certain."""
    return torch.special.entr(gamma).sum(dim=-1).mean()
