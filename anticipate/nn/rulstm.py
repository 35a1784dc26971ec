"""RULSTM: one LSTM rolls along a video, another unrolls from each of its states to the action.

Furnari and Farinella, "Rolling-Unrolling LSTMs for Action Anticipation from First-Person Video",
TPAMI 2020. Glossary, the code's names and the paper's:
    F, H, C    width of features and states, actions
    x_t        features of step t of T
    h_t, c_t   hidden state and cell of the rolling LSTM after x_0 .. x_t
    k          step times from the newest step to the action (steps_to_action)
    n_t        reads of step t: its step times to the action and one more, T - 1 - t + k + 1
    u_t        hidden state of the unrolling LSTM, which starts from (h_t, c_t) and reads x_t n_t
               times; in sequence completion, a pre-training, x_t .. x_{T-1} once each
    y_t        logits of the action, of u_t

The paper's grid has T = 14 and k = 1. A clip without its newest steps has the same outputs as the
whole one when k grows by their number, as only n_t knows of them.

From the smallest part to the network: states; one branch; fusion by modality attention (MATT); the
weights of the authors' code.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from anticipate.errors import ConfigError
from anticipate.nn.reference_weights import matrix_size, reference_tensors, take_weights

__all__ = ["RULSTM", "RULSTMFusion", "rulstm_from_reference"]


class RULSTMState(NamedTuple):
    """What a branch carries from step to step, however long the stream is: h_t and c_t."""

    hidden: Float[Tensor, "layers batch hidden"]
    cell: Float[Tensor, "layers batch hidden"]


class Context(NamedTuple):
    """What a branch knows at each step, of its last layer."""

    hidden: Float[Tensor, "batch steps hidden"]
    """u_t."""
    cell: Float[Tensor, "batch steps hidden"]
    """c_t, the rolling cell: the paper says h_t, its code uses the cell."""


class RULSTM(nn.Module):
    """One branch: the anticipation of every step of a clip, or of a stream.

    `steps_to_action` is k of the clips that `forward` gets, and of streams; 1 unless set.

    Args:
        num_classes: Number of actions C; set from the data.
        feature_dim: Width F of the features; set from the data.
        hidden_dim: Width H of both LSTMs.
        num_layers: Layers of both LSTMs.
        dropout: Dropout of frames before each read, of u_t, and between layers.
        sequence_completion: Whether to train the unrolling LSTM on the steps that follow; how a
            first stage is trained, never how it is scored.
    """

    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        hidden_dim: int = 1024,
        num_layers: int = 1,
        dropout: float = 0.8,
        sequence_completion: bool = False,
    ) -> None:
        super().__init__()
        self.feature_dim, self.hidden_dim = feature_dim, hidden_dim
        self.sequence_completion, self.steps_to_action = sequence_completion, 1
        self.dropout = nn.Dropout(dropout)
        between = dropout if num_layers > 1 else 0.0
        self.rolling = nn.LSTM(feature_dim, hidden_dim, num_layers, dropout=between)
        self.unrolling = nn.LSTM(feature_dim, hidden_dim, num_layers, dropout=between)
        self.classifier = nn.Linear(hidden_dim, num_classes)

    def forward(
        self, features: Float[Tensor, "batch steps feature"]
    ) -> Float[Tensor, "batch steps actions"]:
        """Return the logits of the action that follows the clip, at each step."""
        return self.anticipate(features, self.steps_to_action, self.sequence_completion)

    def anticipate(
        self,
        features: Float[Tensor, "batch steps feature"],
        steps_to_action: int,
        completing: bool = False,
    ) -> Float[Tensor, "batch steps actions"]:
        """Return the logits of the action, at each step.

        Args:
            features: Frames, oldest first.
            steps_to_action: Step times k from the newest of them to the action.
            completing: Whether u_t comes from the following steps (sequence completion).
        """
        return self.classify(self.contexts(features, steps_to_action, completing))

    def classify(self, context: Context) -> Float[Tensor, "batch steps actions"]:
        """Return the logits y_t."""
        return self.classifier(self.dropout(context.hidden))

    def contexts(
        self,
        features: Float[Tensor, "batch steps feature"],
        steps_to_action: int,
        completing: bool = False,
    ) -> Context:
        """Return u_t and c_t of each step; arguments as of `anticipate`."""
        frames = features.transpose(0, 1)
        state, states = self.initial_state(len(features)), []
        for frame in frames:
            state = self._roll(frame, state)
            states.append(state)
        hidden, cell = (torch.stack(parts, dim=1) for parts in zip(*states, strict=True))
        unrolled = self._unroll(frames, (hidden, cell), steps_to_action, completing)
        return Context(unrolled, cell[-1].transpose(0, 1))

    def initial_state(self, batch: int) -> RULSTMState:
        """Return the state of so many streams before their first step."""
        zeros = self.classifier.weight.new_zeros(self.rolling.num_layers, batch, self.hidden_dim)
        return RULSTMState(zeros, zeros)

    def step(
        self, features: Float[Tensor, "batch feature"], state: RULSTMState
    ) -> tuple[Float[Tensor, "batch actions"], RULSTMState]:
        """Return the logits of the action k step times after a step, and the state after it.

        Step by step this is what the last step of a clip says that starts where the stream does.
        """
        context, state = self.context(features, state, self.steps_to_action)
        return self.classify(context).squeeze(1), state

    def context(
        self, features: Float[Tensor, "batch feature"], state: RULSTMState, steps_to_action: int
    ) -> tuple[Context, RULSTMState]:
        """Return u_t and c_t of the next step, and the state after it."""
        state = self._roll(features, state)
        hidden, cell = (part.unsqueeze(1) for part in state)
        unrolled = self._unroll(features.unsqueeze(0), (hidden, cell), steps_to_action)
        return Context(unrolled, cell[-1].transpose(0, 1)), state

    def _roll(self, frame: Float[Tensor, "batch feature"], state: RULSTMState) -> RULSTMState:
        return RULSTMState(*self.rolling(self.dropout(frame).unsqueeze(0), state)[1])

    def _unroll(
        self,
        frames: Float[Tensor, "steps batch feature"],
        state: Sequence[Float[Tensor, "layers steps batch hidden"]],
        steps_to_action: int,
        completing: bool = False,
    ) -> Float[Tensor, "batch steps hidden"]:
        """Return u_t, all steps reading together, each from its own state.

        After k + 1 reads the newest step is done, and with every further read the one before it.
        """
        done: list[Tensor] = []
        ahead = 0 if completing else steps_to_action
        while len(frames):
            size, read = frames.shape[:2], self.dropout(frames).flatten(0, 1).unsqueeze(0)
            flat = [part.flatten(1, 2).contiguous() for part in state]
            state = [part.unflatten(1, size) for part in self.unrolling(read, flat)[1]]
            if ahead:
                ahead -= 1
                continue
            done.append(state[0][-1, -1])
            state = [part[:, :-1] for part in state]
            frames = frames[1:] if completing else frames[:-1]
        return torch.stack(done[::-1], dim=1)


class RULSTMFusion(nn.Module):
    """Branches of several streams, weighed anew at every step by modality attention (MATT).

    MATT sees [u_t, c_t] of all branches; its weights sum to 1 and multiply logits.

    Args:
        branches: One per stream, in the order of their columns.
    """

    def __init__(self, branches: Sequence[RULSTM]) -> None:
        super().__init__()
        self.branches = cast(Sequence[RULSTM], nn.ModuleList(branches))
        self.widths = [branch.feature_dim for branch in branches]
        self.sequence_completion, self.steps_to_action = branches[0].sequence_completion, 1
        context, dropout = 2 * sum(branch.hidden_dim for branch in branches), branches[0].dropout.p
        self.attention = nn.Sequential(
            nn.Linear(context, context // 4),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(context // 4, context // 8),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(context // 8, len(branches)),
            nn.Softmax(dim=-1),
        )

    def forward(
        self, features: Float[Tensor, "batch steps feature"]
    ) -> Float[Tensor, "batch steps actions"]:
        """Return the logits of the action that follows the clip, at each step."""
        return self.anticipate(features, self.steps_to_action, self.sequence_completion)

    def anticipate(
        self,
        features: Float[Tensor, "batch steps feature"],
        steps_to_action: int,
        completing: bool = False,
    ) -> Float[Tensor, "batch steps actions"]:
        """Return the logits of the action, at each step; as `RULSTM.anticipate`."""
        return self._fuse(self._contexts(features, steps_to_action, completing))

    def weights(
        self, features: Float[Tensor, "batch steps feature"]
    ) -> Float[Tensor, "batch steps branches"]:
        """Return what each branch weighs at each step of a clip that `forward` gets."""
        contexts = self._contexts(features, self.steps_to_action, self.sequence_completion)
        return self._weigh(contexts)

    def initial_state(self, batch: int) -> tuple[RULSTMState, ...]:
        """Return the states of so many streams before their first step."""
        return tuple(branch.initial_state(batch) for branch in self.branches)

    def step(
        self, features: Float[Tensor, "batch feature"], state: tuple[RULSTMState, ...]
    ) -> tuple[Float[Tensor, "batch actions"], tuple[RULSTMState, ...]]:
        """Return the logits of the action k step times after a step, and the states after it."""
        known = [
            branch.context(part, own, self.steps_to_action)
            for branch, part, own in zip(self.branches, self._split(features), state, strict=True)
        ]
        contexts, states = zip(*known, strict=True)
        return self._fuse(contexts).squeeze(1), states

    def _contexts(
        self, features: Float[Tensor, "batch steps feature"], steps_to_action: int, completing: bool
    ) -> list[Context]:
        parts = zip(self.branches, self._split(features), strict=True)
        return [branch.contexts(part, steps_to_action, completing) for branch, part in parts]

    def _split(self, features: Float[Tensor, "*batch feature"]) -> Sequence[Tensor]:
        """Return the features of each branch.

        Raises:
            ConfigError: The widths of the branches do not add up to that of the features.
        """
        if features.shape[-1] != sum(self.widths):
            raise ConfigError(
                f"features of width {features.shape[-1]} for branches of the widths "
                f"{' + '.join(map(str, self.widths))}: expected {sum(self.widths)}"
            )
        return features.split(self.widths, dim=-1)

    def _weigh(self, contexts: Sequence[Context]) -> Float[Tensor, "batch steps branches"]:
        return self.attention(torch.cat([part for one in contexts for part in one], dim=-1))

    def _fuse(self, contexts: Sequence[Context]) -> Float[Tensor, "batch steps actions"]:
        weights = self._weigh(contexts).unsqueeze(-1).unbind(dim=2)
        branches = zip(self.branches, contexts, weights, strict=True)
        weighed = [weight * branch.classify(context) for branch, context, weight in branches]
        return torch.stack(weighed).sum(dim=0)


MODULES = {
    "rolling": "rolling_lstm.lstm",
    "unrolling": "unrolling_lstm",
    "classifier": "classifier.1",
    "attention": "MATT",
}
"""Our name of each module, and the authors'."""


def rulstm_from_reference(
    state_dict: Any, *, sequence_completion: bool = False, steps_to_action: int = 1
) -> RULSTM | RULSTMFusion:
    """Build RULSTM, or its fusion, with the weights of the authors' code.

    Args:
        state_dict: Their tensors by name, also with the prefix `module.` or as entry of a released
            checkpoint. Names that start with `branches.` are those of a fusion.
        sequence_completion: Whether `forward` unrolls over the steps that follow.
        steps_to_action: Step times from the newest step of a clip to the action.

    Returns:
        The network, in training mode as every new module.

    Raises:
        CheckpointError: Not a state dict; a tensor is missing, of another size or unknown.
        ConfigError: A negative number of steps to the action.
    """
    if steps_to_action < 0:
        raise ConfigError(f"steps_to_action is {steps_to_action}: expected 0 or more")
    tensors = reference_tensors(state_dict, "a RULSTM")
    sizes = _sizes(tensors)
    branches = [RULSTM(**one, sequence_completion=sequence_completion) for one in sizes]
    network = RULSTMFusion(branches) if _is_fusion(tensors) else branches[0]
    take_weights(network, tensors, their_name)
    network.steps_to_action = steps_to_action
    return network


def reference_settings(state_dict: Any) -> dict[str, Any]:
    """Return the arguments of `RULSTM` that fit the tensors, all widths together, and `fusion`.

    Raises:
        CheckpointError: As `rulstm_from_reference` does.
    """
    tensors = reference_tensors(state_dict, "a RULSTM")
    first, *others = _sizes(tensors)
    width = first["feature_dim"] + sum(one["feature_dim"] for one in others)
    return {**first, "feature_dim": width, "fusion": _is_fusion(tensors)}


def their_name(name: str) -> str:
    """Return the authors' name of a parameter of ours.

    >>> their_name("branches.0.rolling.weight_ih_l0")
    'branches.0.rolling_lstm.lstm.weight_ih_l0'
    """
    return ".".join(MODULES.get(part, part) for part in name.split("."))


def _is_fusion(tensors: Mapping[str, Tensor]) -> bool:
    return any(name.startswith("branches.") for name in tensors)


def _sizes(tensors: Mapping[str, Tensor]) -> list[dict[str, int]]:
    """Return the sizes of each branch that the tensors show; all have the actions of the first."""
    numbers = {name.split(".")[1] for name in tensors if name.startswith("branches.")}
    prefixes = [f"branches.{number}." for number in range(len(numbers))] or [""]
    num_classes, _ = matrix_size(tensors, f"{prefixes[0]}{MODULES['classifier']}.weight")
    sizes = []
    for prefix in prefixes:
        rolling = f"{prefix}{MODULES['rolling']}.weight_ih_l"
        gates, feature_dim = matrix_size(tensors, f"{rolling}0")
        sizes.append(
            {
                "num_classes": num_classes,
                "feature_dim": feature_dim,
                "hidden_dim": gates // 4,
                "num_layers": sum(name.startswith(rolling) for name in tensors),
            }
        )
    return sizes
