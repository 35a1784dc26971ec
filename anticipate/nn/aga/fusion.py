"""How AGA weighs what it remembers against what it sees: o_t = g_t h~_t + (1 - g_t) e_t."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from anticipate.nn.linear import Linear

GateKind = Literal["elementwise", "scalar", "none", "history"]

Hidden = Float[Tensor, "batch hidden"]


class Gate(nn.Module):
    """g_t = sigmoid(MLP([e_t, h~_t])), its first layer split: the frames' half needs no history.

    Args:
        hidden_dim: Width of frames and history.
        bottleneck: Hidden width of the MLP.
        width: hidden_dim for a weight per channel, 1 for one weight.
        dropout: Dropout in the MLP.
    """

    def __init__(self, hidden_dim: int, bottleneck: int, width: int, dropout: float) -> None:
        super().__init__()
        self.from_frame = Linear(hidden_dim, bottleneck)
        self.from_history = Linear(hidden_dim, bottleneck, bias=False)
        # Both are one linear map of [e_t, h~_t] and start as such.
        bound = (2 * hidden_dim) ** -0.5
        for parameter in (*self.from_frame.parameters(), self.from_history.weight):
            nn.init.uniform_(parameter, -bound, bound)
        self.dropout = nn.Dropout(dropout)
        self.out = Linear(bottleneck, width)

    def forward(
        self, history: Hidden, frame_half: Float[Tensor, "batch bottleneck"]
    ) -> Float[Tensor, "batch width"]:
        """Return the weight of the history; `frame_half` is what `from_frame` gave."""
        inner = (frame_half + self.from_history(history)).relu()
        return self.out(self.dropout(inner)).sigmoid()


class Fusion(nn.Module):
    """History and current frame as one vector.

    Args:
        kind: `elementwise` or `scalar` gate, `none` (history + frame) or `history` (history alone).
        hidden_dim: Width of frames and history.
        bottleneck: Hidden width of the gate's MLP.
        dropout: Dropout in it.
    """

    def __init__(self, kind: GateKind, hidden_dim: int, bottleneck: int, dropout: float) -> None:
        super().__init__()
        self.kind = kind
        self.width = {"elementwise": hidden_dim, "scalar": 1}.get(kind, 0)
        self.gate = Gate(hidden_dim, bottleneck, self.width, dropout) if self.width else None

    def prepare(
        self, frames: Float[Tensor, "batch steps hidden"]
    ) -> Float[Tensor, "batch steps bottleneck"]:
        """Return what the gate takes from the frames; of width 0 without a gate."""
        return frames[..., :0] if self.gate is None else self.gate.from_frame(frames)

    def forward(
        self, history: Hidden, frame: Hidden, frame_half: Float[Tensor, "batch bottleneck"]
    ) -> tuple[Hidden, Float[Tensor, "batch width"]]:
        """Return the fused vector, and the weight of the history; of width 0 without a gate."""
        if self.gate is None:
            return history + frame if self.kind == "none" else history, frame_half
        weight = self.gate(history, frame_half)
        return frame + weight * (history - frame), weight
