"""How AGA reads its memory: attention of one query over the stored steps, then a small MLP."""

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from anticipate.nn.aga.layers import RMSNorm
from anticipate.nn.linear import Linear

Heads = Float[Tensor, "batch heads stored head_dim"]
"""Keys or values of the stored steps, split into heads."""


class Retrieval(nn.Module):
    """Multi-head attention with one query, then a residual MLP; no position is known.

    Keys and values are functions of their own step alone, so each is computed once and kept.

    Args:
        hidden_dim: Width of frames, values and the result.
        query_dim: Width of the query.
        key_dim: Width of the keys.
        num_heads: Number of heads; divides hidden_dim.
        dropout: Dropout after the attention and in the MLP.
    """

    def __init__(
        self, hidden_dim: int, query_dim: int, key_dim: int, num_heads: int, dropout: float
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, hidden_dim // num_heads
        self.query_norm, self.query_proj = RMSNorm(query_dim), Linear(query_dim, hidden_dim)
        self.key_norm, self.key_proj = RMSNorm(key_dim), Linear(key_dim, hidden_dim)
        self.value_norm, self.value_proj = RMSNorm(hidden_dim), Linear(hidden_dim, hidden_dim)
        self.out_proj = Linear(hidden_dim, hidden_dim)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(
            RMSNorm(hidden_dim),
            Linear(hidden_dim, hidden_dim // 2),
            nn.GELU(),
            nn.Dropout(dropout),
            Linear(hidden_dim // 2, hidden_dim),
            nn.Dropout(dropout),
        )

    def queries(self, x: Float[Tensor, "batch steps query_dim"]) -> Heads:
        """Return queries, split into heads."""
        return self._split(self.query_proj(self.query_norm(x)))

    def keys(self, x: Float[Tensor, "batch steps key_dim"]) -> Heads:
        """Return keys, split into heads."""
        return self._split(self.key_proj(self.key_norm(x)))

    def values(self, x: Float[Tensor, "batch steps hidden"]) -> Heads:
        """Return values, split into heads."""
        return self._split(self.value_proj(self.value_norm(x)))

    def scores(
        self, queries: Float[Tensor, "batch heads asking head_dim"], keys: Heads
    ) -> Float[Tensor, "batch heads asking stored"]:
        """Return the logits of the attention: q k / sqrt(head_dim)."""
        return queries @ keys.mT * self.head_dim**-0.5

    def forward(
        self, query: Float[Tensor, "batch query_dim"], keys: Heads, values: Heads
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch heads stored"]]:
        """Return the history that one query finds, and the weight of each stored step."""
        weights = self.scores(self.queries(query.unsqueeze(1)), keys).softmax(dim=-1)
        context = rearrange(weights @ values, "batch heads 1 head_dim -> batch (heads head_dim)")
        retrieved = self.dropout(self.out_proj(context))
        return retrieved + self.mlp(retrieved), weights.squeeze(2)

    def _split(self, x: Float[Tensor, "batch steps hidden"]) -> Heads:
        return rearrange(
            x, "batch steps (heads head_dim) -> batch heads steps head_dim", heads=self.num_heads
        )
