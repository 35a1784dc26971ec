"""S6+: the forget matrix A, chosen per video from a mixture (MixANT Sec. 3.2, Eq. 5-6, 17-18).

Glossary: gamma = router probabilities; A_e = expert e, stored as A_log_e with A_e = -exp(A_log_e).
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor, nn

from anticipate.nn.forget_gate import ForgetGate, s4d_real

Selection = Literal["straight_through", "literal", "soft"]


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
        jitter: Standard deviation of the Gaussian added to A_log at the start, so that experts
            differ.
    """

    def __init__(
        self,
        d_inner: int,
        d_state: int,
        num_experts: int = 1,
        selection: Selection = "straight_through",
        jitter: float = 0.0,
    ) -> None:
        super().__init__()
        self.selection = selection
        A_log = s4d_real(d_inner, d_state).repeat(num_experts, 1, 1)
        self.A_log = nn.Parameter(A_log + jitter * torch.randn_like(A_log) if jitter else A_log)

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


def load_balancing_loss(
    gamma: Float[Tensor, "blocks routers batch experts"],
) -> Float[Tensor, ""]:
    """Return Eq. 17-18: the sum over blocks of KL(expert usage || uniform).

    Usage is the sum of gamma over the batch, normalised. The result is 0 for balanced usage and at
    most blocks * ln(experts). Independent routers (two per block) count half each, so that lambda
    keeps its scale.
    """
    num_experts = gamma.shape[-1]
    usage = gamma.mean(dim=2)
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
