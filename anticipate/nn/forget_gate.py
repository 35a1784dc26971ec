"""What makes the forget matrix A of S6: a matrix as such, or a function of every token.

Mamba learns one matrix; MixANT chooses among several (`anticipate.nn.mixture`). The two classes
here compute another matrix for every token instead (MixANT Sec. 1 and 8, Tab. 3). The paper gives
only their kind and size: 8.0 M parameters for "a large MLP", 2.3 M for "query-key like
multiplication"; their layout follows from these sizes, at width 64 and with 12 such blocks.
"""

from abc import ABC, abstractmethod

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from anticipate.nn.linear import Linear


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


class MLPForgetGate(ForgetGate):
    """A(x_l) = -exp(log n + MLP(x_l)), Tab. 3's "Large MLP": 8,023,792 parameters on Breakfast.

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
