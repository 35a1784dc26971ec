"""AGA as a plain loop that encodes its whole queue again at every step, for comparison.

Keys and values of all remembered steps are recomputed at each step, frames are encoded one by one,
and parameters have the names of the authors' checkpoints, so that weights go both ways.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Gained(nn.Module):
    """A learned gain on vectors of length 1, or of mean square 1; nothing saves zero vectors."""

    def __init__(self, dim: int, mean_square: bool) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(dim))
        self.mean_square = mean_square

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return the scaled vectors."""
        squares = x.square()
        length = squares.mean(-1, True) if self.mean_square else squares.sum(-1, True)
        return x / length.sqrt() * self.g


class Normed(nn.Module):
    """A function of query, keys and values that are normalised before."""

    def __init__(self, fn: nn.Module, query_dim: int, key_dim: int, value_dim: int) -> None:
        super().__init__()
        self.fn = fn
        self.q_norm = Gained(query_dim, mean_square=True)
        self.k_norm = Gained(key_dim, mean_square=True)
        self.v_norm = Gained(value_dim, mean_square=True)


class Attention(nn.Module):
    """Multi-head attention of one query."""

    def __init__(self, query_dim: int, key_dim: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.q_f, self.k_f = nn.Linear(query_dim, dim), nn.Linear(key_dim, dim)
        self.v_f = nn.Linear(dim, dim)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(dropout))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "batch 1 hidden"]:
        """Return what one query finds among the keys."""
        q, k, v = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (self.q_f(q), self.k_f(k), self.v_f(v))
        )
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """The MLP after the attention."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        up, down = nn.Linear(dim, dim // 2), nn.Linear(dim // 2, dim)
        self.net = nn.Sequential(up, nn.GELU(), nn.Dropout(dropout), down, nn.Dropout(dropout))

    def forward(self, x: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """Return what is added to the input."""
        return self.net(x)


class Residual(nn.Module):
    """A normed function whose result is added to its input."""

    def __init__(self, fn: Normed) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: Float[Tensor, "batch hidden"]) -> Float[Tensor, "batch hidden"]:
        """Return the sum."""
        return x + self.fn.fn(self.fn.q_norm(x))


class Transform(nn.Module):
    """Attention without a residual, MLP with one."""

    def __init__(self, query_dim: int, key_dim: int, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        attention = Attention(query_dim, key_dim, dim, heads, dropout)
        self.target_f1 = Normed(attention, query_dim, key_dim, dim)
        self.target_f2 = Residual(Normed(FeedForward(dim, dropout), dim, dim, dim))

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Float[Tensor, "batch hidden"]:
        """Return the history."""
        first = self.target_f1
        found = first.fn(first.q_norm(q), first.k_norm(k), first.v_norm(v))
        return self.target_f2(found.squeeze(1))


def encoder(in_features: int, out_features: int, dropout: float) -> nn.Sequential:
    """Return LayerNorm, ReLU, dropout and a linear map."""
    linear = nn.Linear(in_features, out_features)
    return nn.Sequential(nn.LayerNorm(in_features), nn.ReLU(), nn.Dropout(dropout), linear)


class ReencodingAGA(nn.Module):
    """The released network: its queue of predictions and frames is encoded again at every step.

    Args:
        num_classes: Number of actions.
        feature_dim: Width of the features.
        hidden_dim: Width of encoded frames.
        queue_length: Steps remembered.
        query: `ema_released`, `ema`, `last` or `lstm`.
        gate: `elementwise`, `scalar`, `none` or `history`.
        attention: `action_guided` or `visual`.
        dropout: Dropout everywhere.
        heads: Heads of the attention.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        hidden_dim: int = 2048,
        queue_length: int = 30,
        query: Literal["ema_released", "ema", "last", "lstm"] = "ema_released",
        gate: Literal["elementwise", "scalar", "none", "history"] = "elementwise",
        attention: Literal["action_guided", "visual"] = "action_guided",
        dropout: float = 0.6,
        heads: int = 16,
    ) -> None:
        super().__init__()
        narrow = hidden_dim // 4
        self.queue_length, self.query, self.gate = queue_length, query, gate
        self.guided = attention == "action_guided"
        self.encoder = encoder(feature_dim, hidden_dim, dropout)
        self.encoder.append(Gained(hidden_dim, mean_square=False))
        self.selector = nn.Sequential(
            nn.Linear(2 * hidden_dim, narrow),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(narrow, 1 if gate == "scalar" else hidden_dim),
            nn.Sigmoid(),
        )
        self.anticipation_classifier = encoder(hidden_dim, num_classes, dropout)
        self.encode_q: nn.Module = nn.Linear(hidden_dim, narrow)
        if self.guided:
            self.encode_q = encoder(num_classes, narrow, dropout)
        self.encode_k = encoder(num_classes, narrow, dropout)
        self.hx_norm = Gained(hidden_dim, mean_square=False)
        key_dim = narrow if self.guided else hidden_dim
        self.state_transform = Transform(narrow, key_dim, hidden_dim, heads, dropout)
        if query == "lstm":
            self.lstm = nn.LSTMCell(num_classes, num_classes)

    def forward(
        self, features: Float[Tensor, "batch steps feature"]
    ) -> Float[Tensor, "batch steps actions"]:
        """Return the logits of every step."""
        outputs: list[Tensor] = []
        frames: list[Tensor] = []
        query: Tensor | None = None
        cell: Tensor | None = None
        for x in features.unbind(1):
            frame = self.encoder(x)
            fused = self.hx_norm(frame)
            if outputs:
                query, cell = self._next_query(outputs[-1], query, cell)
                fused = self._look_back(frame, query, outputs, frames)
            outputs.append(self.anticipation_classifier(fused))
            frames.append(frame)
        return torch.stack(outputs, 1)

    def _next_query(
        self, logits: Tensor, query: Tensor | None, cell: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        newest = logits.softmax(-1)
        if self.query == "last":
            return newest, None
        if self.query == "lstm":
            return self.lstm(newest, None if query is None or cell is None else (query, cell))
        if self.query == "ema":
            return newest if query is None else 0.8 * newest + 0.2 * query, None
        before = torch.zeros_like(newest) if query is None else query
        return 0.8 * newest + 0.2 * before.softmax(-1), None

    def _look_back(
        self, frame: Tensor, query: Tensor, outputs: list[Tensor], frames: list[Tensor]
    ) -> Float[Tensor, "batch hidden"]:
        values = torch.stack(frames[-self.queue_length :], 1)
        keys, q = values, frame
        if self.guided:
            keys, q = self.encode_k(torch.stack(outputs[-self.queue_length :], 1)), query
        history = self.hx_norm(self.state_transform(self.encode_q(q).unsqueeze(1), keys, values))
        if self.gate == "history":
            return history
        if self.gate == "none":
            return history + frame
        weight = self.selector(torch.cat([frame, history], -1))
        return weight * history + (1 - weight) * frame
