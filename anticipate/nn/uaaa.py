"""UAAA: which action follows and how long it lasts, as distributions (Abu Farha and Gall, 2019).

A video is a list of segments (c_1, l_1) .. (c_n, l_n), the last one seen for e frames so far. The
action model gives p(c_n+1 | c_1..n, l_1..n), the length model p(l_n+1 | c_1..n+1, l_1..n), a
Gaussian; many futures are drawn from the two in turn.

The abstract of the paper (arXiv 1908.09540) names the two models, their distributions and the
drawing. Marked (code) is what follows the public code of its predecessor, the RNN of Abu Farha et
al. (CVPR 2018); (recalled) what was recalled from the paper's text and not looked up; the rest is
ours. The GRU is PyTorch's, whose reset gate acts after the product and which has a second bias.

Shapes of the two past encoders, one per model:
    segment      one-hot class, then the length in its unit    classes + 1
    Linear, ReLU (code)                                        hidden_dim = 128
    GRU, two layers (code)                                     state_dim = 256
    Linear, ReLU (code)                                        hidden_dim

Sizes: 1,506,610 parameters on Breakfast (48 classes), 1,491,733 on 50Salads (19), 1,585,612 on
Assembly101 (202); the predecessor had 735,410 on Breakfast.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError
from anticipate.segments import Segments
from anticipate.types import PAD_LABEL

__all__ = ["UAAA"]

CurrentLength = Literal["total", "remaining"]

LOG_STD = (-7.0, 3.0)
"""Range of log sigma."""

CUTS, PARTS = range(1, 20, 2), 20
"""Parts of its last segment that a training example of the action model has seen: (i + 0.5) / 10 of
it, i = 0 .. 9, in whole frames (code)."""

Unit = Callable[[Int[Tensor, " *shape"]], tuple[Tensor, Tensor]]
"""Maps classes to the zero point and the scale, in frames, of their lengths: length = (frames -
zero) / scale."""


class Gaussian(NamedTuple):
    """N(mean, sigma^2), row by row."""

    mean: Float[Tensor, " batch"]
    log_std: Float[Tensor, " batch"]

    @classmethod
    def of(cls, outputs: Float[Tensor, "batch 2"]) -> "Gaussian":
        """Read the outputs of a network as (mu, log sigma) (recalled)."""
        mean, log_std = outputs.unbind(dim=-1)
        return cls(mean, log_std.clamp(*LOG_STD))

    def nll(self, values: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Return the negative log-likelihood, its constant included."""
        return -torch.distributions.Normal(self.mean, self.log_std.exp()).log_prob(values)


class Past(nn.Module):
    """GRU over segments, of which only the state after the last one is read.

    Args:
        num_classes: Number of action classes C.
        hidden_dim: Width before and after the GRU.
        state_dim: Width of its state.
        num_layers: Layers of the GRU.
    """

    def __init__(self, num_classes: int, hidden_dim: int, state_dim: int, num_layers: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.embed = nn.Linear(num_classes + 1, hidden_dim)
        self.gru = nn.GRU(hidden_dim, state_dim, num_layers, batch_first=True)
        self.out = nn.Linear(state_dim, hidden_dim)

    def forward(
        self,
        labels: Int[Tensor, "batch segments"],
        lengths: Float[Tensor, "batch segments"],
        num_segments: Int[Tensor, " batch"],
        state: Float[Tensor, "layers batch state_dim"] | None = None,
    ) -> tuple[Float[Tensor, "batch hidden_dim"], Float[Tensor, "layers batch state_dim"]]:
        """Read some more segments; without any, features are of a zero vector before them all.

        Args:
            labels: Class of each segment; any on padding.
            lengths: Length of each in its unit; any on padding.
            num_segments: Segments of each row.
            state: State after those before; zero at the beginning.

        Returns:
            Features of the past, and the state to go on from.
        """
        if state is None:
            state = lengths.new_zeros(self.gru.num_layers, len(labels), self.gru.hidden_size)
        classes = F.one_hot(labels.clamp(min=0), self.num_classes).to(lengths)
        x = F.relu(self.embed(torch.cat([classes, lengths.unsqueeze(-1)], dim=-1)))
        places = torch.arange(labels.shape[1], device=labels.device)
        x = x * (places < num_segments.unsqueeze(-1)).unsqueeze(-1)
        steps = num_segments.clamp(min=1).cpu()
        packed = pack_padded_sequence(x, steps, batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed, state)
        state = torch.where((num_segments > 0).unsqueeze(-1), last, state)
        return F.relu(self.out(last[-1])), state


class ActionModel(nn.Module):
    """Which action follows a past; on request also how long its last segment goes on.

    Args:
        past: Encoder of the past.
        remaining: Whether there is a head for the remaining length (code).
    """

    def __init__(self, past: Past, remaining: bool) -> None:
        super().__init__()
        self.past = past
        hidden_dim = past.out.out_features
        self.head = nn.Linear(hidden_dim, past.num_classes)
        self.remaining = nn.Linear(hidden_dim, 2) if remaining else None

    def forward(
        self, features: Float[Tensor, "batch hidden_dim"]
    ) -> tuple[Float[Tensor, "batch classes"], Gaussian | None]:
        """Return logits of the next action, and the distribution of the remaining length."""
        remaining = None if self.remaining is None else Gaussian.of(self.remaining(features))
        return self.head(features), remaining


class LengthModel(nn.Module):
    """How long an action lasts that follows a past; two branches, joined (recalled).

    Args:
        past: Encoder of the past.
    """

    def __init__(self, past: Past) -> None:
        super().__init__()
        self.past = past
        hidden_dim = past.out.out_features
        self.action = nn.Linear(past.num_classes, hidden_dim)
        self.joint = nn.Linear(2 * hidden_dim, hidden_dim)
        self.head = nn.Linear(hidden_dim, 2)

    def forward(
        self, features: Float[Tensor, "batch hidden_dim"], actions: Int[Tensor, " batch"]
    ) -> Gaussian:
        """Return the distribution of the whole length of `actions` in their unit."""
        one_hot = F.one_hot(actions, self.action.in_features).to(features)
        joined = torch.cat([features, F.relu(self.action(one_hot))], dim=-1)
        return Gaussian.of(self.head(F.relu(self.joint(joined))))


class UAAA(nn.Module):
    """Action model and length model, which share nothing.

    Args:
        num_classes: Number of action classes C; set from the data.
        current_length: Where the length of the segment comes from that the observation cuts:
            `total` (of the length model, minus what was seen) or `remaining` (of a head of the
            action model, as its predecessor).
        hidden_dim: Width of the layers around the GRUs.
        state_dim: Width of their states.
        num_layers: Their layers.
    """

    method = "UAAA"

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        current_length: CurrentLength = "total",
        hidden_dim: int = 128,
        state_dim: int = 256,
        num_layers: int = 2,
    ) -> None:
        super().__init__()
        sizes = num_classes, hidden_dim, state_dim, num_layers
        if min(sizes) < 1:
            raise ConfigError(f"the sizes of UAAA are {sizes}: expected 1 or more")
        self.actions = ActionModel(Past(*sizes), current_length == "remaining")
        self.lengths = LengthModel(Past(*sizes))

    def losses(
        self,
        labels: Int[Tensor, "batch segments"],
        lengths: Float[Tensor, "batch segments"],
        num_segments: Int[Tensor, " batch"],
        next_labels: Int[Tensor, " batch"],
        seen: Float[Tensor, "batch cuts"],
        left: Float[Tensor, "batch cuts"],
    ) -> dict[str, Tensor]:
        """Return the losses of beginnings of transcripts, each a mean over its examples.

        The action model learns from every cut of the last segment: those share the state after the
        segments before, which is computed once. The length model learns the whole last segment.

        Args:
            labels: Class of each segment.
            lengths: Whole length of each in its unit.
            num_segments: Segments of each row, the cut one included.
            next_labels: Class that follows; PAD_LABEL at the end of a video.
            seen: Length of the last segment up to each cut, in its unit.
            left: Length after the cut, in the scale of that unit.
        """
        before, num_cuts = num_segments - 1, seen.shape[1]
        last = labels.gather(1, before.unsqueeze(-1))
        features, _ = self.lengths.past(labels, lengths, before)
        targets = lengths.gather(1, before.unsqueeze(-1)).squeeze(-1)
        length = self.lengths(features, last.squeeze(-1)).nll(targets).mean()

        _, state = self.actions.past(labels, lengths, before)
        logits, remaining = self.actions(
            self.actions.past(
                last.repeat_interleave(num_cuts, dim=0),
                seen.reshape(-1, 1),
                torch.ones_like(before).repeat_interleave(num_cuts),
                state.repeat_interleave(num_cuts, dim=1),
            )[0]
        )
        following = next_labels.repeat_interleave(num_cuts)
        known = following != PAD_LABEL
        examples = known.sum().clamp(min=1)
        action = F.cross_entropy(logits, following, ignore_index=PAD_LABEL, reduction="sum")
        found = {"action": action / examples, "length": length}
        if remaining is not None:
            found["remaining"] = (remaining.nll(left.flatten()) * known).sum() / examples
        return found


class Continuation:
    """Draws what follows one observation: the GRUs go on from the state of each sample.

    Args:
        network: Both models.
        unit: Unit of lengths in this video.
        observed: Segments of the observed frames; the last one is cut.
        generators: Random numbers of each sample; none for one future, of the likeliest actions and
            the mean lengths.
    """

    def __init__(
        self,
        network: UAAA,
        unit: Unit,
        observed: Segments,
        generators: Sequence[np.random.Generator] = (),
    ) -> None:
        self.network, self.unit, self.generators = network, unit, generators
        self.rows = max(len(generators), 1)
        labels, frames = (torch.from_numpy(part.astype(np.int64)) for part in observed)
        self.last, self.elapsed = int(labels[-1]), float(frames[-1])
        history = self._segments(labels, frames)
        before = torch.tensor([len(labels) - 1], device=history[0].device)
        _, state = network.actions.past(*(part[None] for part in history), before)
        self.actions = state.repeat(1, self.rows, 1)
        features, state = network.lengths.past(*(part[None] for part in history), before)
        self.features = features.repeat(self.rows, 1)
        self.lengths = state.repeat(1, self.rows, 1)

    def current(self) -> list[float]:
        """Draw how many frames the last segment lasts, those seen included."""
        actions, seen = [self.last] * self.rows, [self.elapsed] * self.rows
        if self.network.actions.remaining is None:
            return self.length(actions)
        features, _ = self._read(self.network.actions.past, actions, seen, self.actions)
        _, remaining = self.network.actions(features)
        assert remaining is not None
        _, scale = self.unit(self._there(torch.tensor(actions)))
        left = self._drawn(remaining.mean * scale, remaining.log_std.exp() * scale)
        return [self.elapsed + max(frames, 0.0) for frames in left]

    def next_action(self, actions: Sequence[int], lengths: Sequence[float]) -> list[int]:
        """Read segments that are whole now, one per sample, and draw what follows them."""
        features, self.actions = self._read(
            self.network.actions.past, actions, lengths, self.actions
        )
        self.features, self.lengths = self._read(
            self.network.lengths.past, actions, lengths, self.lengths
        )
        logits, _ = self.network.actions(features)
        sums = logits.double().softmax(dim=-1).cumsum(dim=-1).cpu().numpy()
        if not self.generators:
            return logits.argmax(dim=-1).tolist()
        shares = np.array([generator.random() for generator in self.generators])
        return (sums <= (shares * sums[:, -1])[:, None]).sum(axis=-1).tolist()

    def length(self, actions: Sequence[int]) -> list[float]:
        """Draw how many frames actions last that follow the segments read so far."""
        labels = self._there(torch.tensor(actions))
        zero, scale = self.unit(labels)
        length = self.network.lengths(self.features, labels)
        return self._drawn(zero + length.mean * scale, length.log_std.exp() * scale)

    def _read(
        self, past: Past, actions: Sequence[int], frames: Sequence[float], state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Let an encoder read one more segment of each sample."""
        labels, lengths = self._segments(torch.tensor(actions), torch.tensor(frames))
        return past(labels[:, None], lengths[:, None], torch.ones_like(labels), state)

    def _segments(self, labels: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and lengths as encoders read them."""
        labels = self._there(labels)
        zero, scale = self.unit(labels)
        return labels, (frames.to(self.network.actions.head.weight) - zero) / scale

    def _there(self, labels: Tensor) -> Tensor:
        return labels.to(self.network.actions.head.weight.device)

    def _drawn(self, mean: Tensor, std: Tensor) -> list[float]:
        frames = torch.stack([mean, std], dim=-1).double().cpu().numpy()
        if not np.isfinite(frames).all():
            raise ConfigError(
                "UAAA predicts a length that is no number: its training has diverged; lower the "
                "learning rate"
            )
        if not self.generators:
            return frames[:, 0].tolist()
        pairs = zip(self.generators, frames, strict=True)
        return [float(generator.normal(*row)) for generator, row in pairs]
