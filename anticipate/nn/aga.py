"""AGA, action-guided attention: a network that looks back guided by its own predictions.

Glossary, the code's names and the paper's:
    C, H, S    actions, width of encoded frames (hidden_dim), steps remembered (queue_length)
    e_t        encoded frame of step t: the value that is remembered of it
    y^_t       prediction of step t: the key that is remembered of it
    y-_t       summary of the predictions before step t, their moving average: the query
    alpha      weight of the newest prediction in y-_t (ema_weight)
    h~_t       history: what attention finds for the query in the last S steps
    g_t, o_t   gate, and what it makes of history and frame: o_t = g_t h~_t + (1 - g_t) e_t

From the smallest part to the network: encoders and norms; the query, y-_t; keys; attention; the
gate; what a step carries to the next; the network; the weights of its authors' code.

The paper's text and the authors' code differ in two places. Queries follow the text by default
(`query="ema"`; `ema_released` is the code's). The text speaks of predictions y^ as keys where the
code stores their logits; LayerNorm follows at once and hides scale and shift, and the published
figures come from the code, so keys are logits unless `key_space` says otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from anticipate.choices import checked_choices
from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn.aga_past import Past, labelled_past
from anticipate.nn.cpu.linear import Linear
from anticipate.nn.reference_weights import matrix_size, reference_tensors

__all__ = ["AGA", "AGAState", "AGATrace", "aga_from_reference"]

Space = Literal["probs", "logits"]
QueryKind = Literal["ema", "ema_released", "last", "lstm"]
AttentionKind = Literal["action_guided", "visual"]
GateKind = Literal["elementwise", "scalar", "none", "history"]
ValueKind = Literal["frames", "fused"]

Prediction = Float[Tensor, "batch actions"]

Summary = tuple[Tensor, ...]

Heads = Float[Tensor, "batch heads stored head_dim"]
"""Keys or values of the stored steps, split into heads."""

Hidden = Float[Tensor, "batch hidden"]


class Encoder(nn.Module):
    """LayerNorm, ReLU, dropout and a linear map: AGA's frame, query, key and class encoders.

    Args:
        in_features: Width of the input.
        out_features: Width of the output.
        dropout: Share of the inputs of the linear map that are dropped.
        normalise: Whether LayerNorm comes first.
    """

    def __init__(
        self, in_features: int, out_features: int, dropout: float, normalise: bool = True
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(in_features) if normalise else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.linear = Linear(in_features, out_features)

    def forward(
        self, x: Float[Tensor, "*batch in_features"]
    ) -> Float[Tensor, "*batch out_features"]:
        """Return the encoded vectors."""
        return self.linear(self.dropout(self.norm(x).relu()))


class ScaleNorm(nn.Module):
    """A vector of length 1, times a learned gain per channel; a zero vector stays zero.

    Args:
        dim: Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return the scaled vectors."""
        return x / _nonzero(x.norm(dim=-1, keepdim=True)) * self.gain


class RMSNorm(nn.Module):
    """A vector whose mean square is 1, times a learned gain per channel; zero stays zero.

    Unlike `torch.nn.RMSNorm` it adds no epsilon: short vectors are scaled like long ones.

    Args:
        dim: Width of the vectors.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Return the scaled vectors."""
        root_mean_square = x.norm(dim=-1, keepdim=True) * x.shape[-1] ** -0.5
        return x / _nonzero(root_mean_square) * self.gain


def _nonzero(length: Tensor) -> Tensor:
    return torch.where(length > 0, length, 1.0)


class Last(nn.Module):
    """The last prediction: y-_t = y^_{t-1}."""

    def forward(self, prediction: Prediction, summary: Summary) -> Summary:
        """Return the summary that includes one more prediction."""
        return (prediction,)


class Ema(nn.Module):
    """The paper's moving average: y-_t = alpha y^_{t-1} + (1 - alpha) y-_{t-1}, from y-_1 = y^_0.

    Args:
        weight: Weight alpha of the newest prediction.
    """

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, prediction: Prediction, summary: Summary) -> Summary:
        """Return the summary that includes one more prediction."""
        (previous,) = summary or (prediction,)
        return (self.weight * prediction + (1 - self.weight) * previous,)


class ReleasedEma(nn.Module):
    """The moving average of the authors' code, which forgets almost everything.

    It takes a softmax of the average, which is a probability vector already, before each update:
    y-_t = alpha y^_{t-1} + (1 - alpha) softmax(y-_{t-1}), from y-_0 = 0. In logit space nothing is
    normalised and this is the paper's average from zero.

    Args:
        weight: Weight alpha of the newest prediction.
        space: What the predictions are.
    """

    def __init__(self, weight: float, space: Space) -> None:
        super().__init__()
        self.weight, self.space = weight, space

    def forward(self, prediction: Prediction, summary: Summary) -> Summary:
        """Return the summary that includes one more prediction."""
        previous = summary[0] if summary else torch.zeros_like(prediction)
        if self.space == "probs":
            previous = previous.softmax(dim=-1)
        return (self.weight * prediction + (1 - self.weight) * previous,)


class LSTMQuery(nn.Module):
    """The hidden state of an LSTM over the predictions.

    Args:
        num_classes: Width of the predictions and of both states.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(num_classes, num_classes)

    def forward(self, prediction: Prediction, summary: Summary) -> Summary:
        """Return the summary that includes one more prediction: hidden state and cell."""
        return self.cell(prediction, (summary[0], summary[1]) if summary else None)


def make_query(
    kind: QueryKind, num_classes: int, weight: float, space: Space
) -> Last | Ema | ReleasedEma | LSTMQuery:
    """Return the module that summarises predictions."""
    if kind == "ema":
        return Ema(weight)
    if kind == "ema_released":
        return ReleasedEma(weight, space)
    return Last() if kind == "last" else LSTMQuery(num_classes)


class ActionGuidance(nn.Module):
    """Turns each prediction into what its key is made of, and into a part of the query.

    Args:
        num_classes: Number of actions.
        query: How predictions make a query.
        ema_weight: Weight alpha of the newest prediction in it.
        query_space: Whether queries are made of probabilities or logits.
        key_space: The same for keys.
        hard_top1: Whether only the best action of a prediction counts, as a one-hot vector.
    """

    def __init__(
        self,
        num_classes: int,
        query: QueryKind,
        ema_weight: float,
        query_space: Space,
        key_space: Space,
        hard_top1: bool,
    ) -> None:
        super().__init__()
        self.query_space, self.key_space, self.hard_top1 = query_space, key_space, hard_top1
        # The authors' code takes one-hot vectors for logits when it makes queries; LayerNorm's
        # epsilon then leaves next to nothing of them. Only the query that is theirs keeps this.
        self.softens_certainty = query == "ema_released"
        self.summarise = make_query(query, num_classes, ema_weight, query_space)

    def forward(
        self, prediction: Prediction, certain: bool, summary: Summary
    ) -> tuple[Float[Tensor, "batch actions"], Summary]:
        """Return what the key of a step is made of, and the summary that includes the step.

        Args:
            prediction: Logits of the step.
            certain: Whether it is a one-hot vector instead, which is the same in both spaces.
            summary: Of the steps before.
        """
        if self.hard_top1 and not certain:
            best = F.one_hot(prediction.argmax(dim=-1), prediction.shape[-1])
            prediction, certain = best.to(prediction.dtype), True
        key = prediction if certain else _in_space(prediction, self.key_space)
        taken_as_it_is = certain and not self.softens_certainty
        queried = prediction if taken_as_it_is else _in_space(prediction, self.query_space)
        return key, self.summarise(queried, summary)


def _in_space(logits: Prediction, space: Space) -> Prediction:
    return logits.softmax(dim=-1) if space == "probs" else logits


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


class Frame(NamedTuple):
    """One step of what depends on frames alone."""

    encoded: Float[Tensor, "batch hidden"]
    value: Float[Tensor, "batch heads 1 head_dim"] | None
    """None where values are made of fused vectors."""
    gate_half: Float[Tensor, "batch bottleneck"]
    """What the gate takes from the frame; width 0 without a gate."""


class Frames(NamedTuple):
    """All steps of it, computed at once."""

    encoded: Float[Tensor, "batch steps hidden"]
    values: Float[Tensor, "batch heads steps head_dim"] | None
    gate_half: Float[Tensor, "batch steps bottleneck"]

    def at(self, step: int) -> Frame:
        """Return one step."""
        value = None if self.values is None else self.values[:, :, step : step + 1]
        return Frame(self.encoded[:, step], value, self.gate_half[:, step])


class AGAState(NamedTuple):
    """The memory of streams: at most `queue_length` steps, oldest first."""

    keys: Float[Tensor, "batch heads stored head_dim"] | Float[Tensor, "batch stored actions"]
    """Keys; with `redraw_key_dropout` the predictions that they are made of."""
    values: Float[Tensor, "batch heads stored head_dim"]
    summary: Summary
    """Of all predictions so far, stored or not; the first tensor is the query of the next step."""


class Answer(NamedTuple):
    """What a step computes from its frame and the memory."""

    logits: Float[Tensor, "batch actions"]
    fused: Float[Tensor, "batch hidden"]
    gate: Float[Tensor, "batch width"]
    """Weight of the history."""
    attention: Float[Tensor, "batch heads stored"]
    """Weight of each remembered step."""


class Step(NamedTuple):
    """One step of a forward pass."""

    state: AGAState
    """Memory before it."""
    answer: Answer
    prediction: Float[Tensor, "batch actions"]
    """What is remembered of it."""


class AGATrace(NamedTuple):
    """What happened at every step of some clips."""

    logits: Float[Tensor, "batch steps actions"]
    predictions: Float[Tensor, "batch steps actions"]
    """What was remembered of each step: its logits, or what was given instead."""
    queries: Float[Tensor, "batch steps actions"]
    """Query of each step before it is encoded; zero at the first and with visual attention."""
    attention: Float[Tensor, "batch steps heads steps"]
    """Weight that each step (second axis) gives to each earlier one (last axis), elsewhere zero."""
    gate: Float[Tensor, "batch steps width"]
    """Weight of the history, zero at the first step; of width 1 for a scalar gate, 0 for none."""


def collect(steps: Sequence[Step]) -> AGATrace:
    """Return the steps of a forward pass as one trace."""
    num_steps = len(steps)
    queries = [
        step.state.summary[0] if step.state.summary else torch.zeros_like(step.answer.logits)
        for step in steps
    ]
    attention = []
    for now, step in enumerate(steps):
        weights = step.answer.attention
        attention.append(F.pad(weights, (now - weights.shape[-1], num_steps - now)))
    return AGATrace(
        logits=torch.stack([step.answer.logits for step in steps], dim=1),
        predictions=torch.stack([step.prediction for step in steps], dim=1),
        queries=torch.stack(queries, dim=1),
        attention=torch.stack(attention, dim=1),
        gate=torch.stack([step.answer.gate for step in steps], dim=1),
    )


class AGA(nn.Module):
    """Action-guided attention over the last steps of a clip or a stream.

    Settings that the chosen variant does not use have no effect and no parameters.

    Args:
        num_classes: Number of actions C; set from the data.
        feature_dim: Width of the features; set from the data.
        hidden_dim: Width H of encoded frames, values and history.
        bottleneck: Width of encoded predictions and of the gate's hidden layer; null for H / 4.
        num_heads: Heads of the attention; divides hidden_dim.
        dropout: Dropout before and after every linear map.
        query: Summary of the predictions: `ema` (the paper's moving average), `ema_released` (that
            of the authors' code, which normalises twice and forgets at once), `last` or `lstm`.
        ema_weight: Weight alpha of the newest prediction in the moving average.
        attention: Queries and keys from predictions (`action_guided`) or from frames (`visual`).
        gate: Weight per channel (`elementwise`), one weight (`scalar`), history + frame as in the
            authors' code (`none`), or the `history` alone as in the paper's table.
        queue_length: Steps remembered, S.
        query_space: Queries from `probs` or `logits`.
        key_space: Keys from `logits` or `probs`.
        hard_top1: Whether only the best action of a prediction is remembered.
        values: Values from encoded `frames` or from `fused` vectors.
        redraw_key_dropout: Whether training draws the dropout of stored keys at every step, as
            the authors' code does by encoding the whole queue again.
        input_norm: Whether LayerNorm comes before the frame encoder.

    Raises:
        ConfigError: For sizes that do not fit together, or a word that is not offered.
    """

    capturable = True
    """Whether the same work is done for all features of a shape, so that a GPU may replay it."""

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        hidden_dim: int = 2048,
        bottleneck: int | None = None,
        num_heads: int = 16,
        dropout: float = 0.6,
        query: QueryKind = "ema",
        ema_weight: float = 0.8,
        attention: AttentionKind = "action_guided",
        gate: GateKind = "elementwise",
        queue_length: int = 30,
        query_space: Space = "probs",
        key_space: Space = "logits",
        hard_top1: bool = False,
        values: ValueKind = "frames",
        redraw_key_dropout: bool = False,
        input_norm: bool = True,
    ) -> None:
        super().__init__()
        _check(hidden_dim, num_heads, queue_length, ema_weight)
        bottleneck = hidden_dim // 4 if bottleneck is None else bottleneck
        self.num_classes, self.queue_length = num_classes, queue_length
        self.remembers_fused = values == "fused"
        self.redraws_keys = redraw_key_dropout and attention == "action_guided"
        self.frame_encoder = Encoder(feature_dim, hidden_dim, dropout, input_norm)
        self.frame_norm = ScaleNorm(hidden_dim)
        self.guidance: ActionGuidance | None = None
        self.query_encoder: nn.Module = Linear(hidden_dim, bottleneck)
        self.key_encoder: nn.Module = nn.Identity()
        if attention == "action_guided":
            self.guidance = ActionGuidance(
                num_classes, query, ema_weight, query_space, key_space, hard_top1
            )
            self.query_encoder = Encoder(num_classes, bottleneck, dropout)
            self.key_encoder = Encoder(num_classes, bottleneck, dropout)
        key_dim = bottleneck if attention == "action_guided" else hidden_dim
        self.retrieval = Retrieval(hidden_dim, bottleneck, key_dim, num_heads, dropout)
        self.history_norm = ScaleNorm(hidden_dim)
        self.fusion = Fusion(gate, hidden_dim, bottleneck, dropout)
        self.classifier = Encoder(hidden_dim, num_classes, dropout)

    def forward(
        self,
        features: Float[Tensor, "batch steps feature"],
        past: Past | Int[Tensor, "batch steps"] | None = None,
    ) -> Float[Tensor, "batch steps actions"]:
        """Return the logits of the action one step after each step.

        Args:
            features: Frames, oldest first.
            past: What to remember instead of the own predictions: `step_targets` of a batch for
                teacher forcing, or what `perturbed_past` returns.
        """
        return torch.stack([step.answer.logits for step in self._steps(features, past)], dim=1)

    def trace(
        self,
        features: Float[Tensor, "batch steps feature"],
        past: Past | Int[Tensor, "batch steps"] | None = None,
    ) -> AGATrace:
        """Return a forward pass with its inner workings; arguments as of `forward`."""
        return collect(list(self._steps(features, past)))

    def initial_state(self, batch: int) -> AGAState:
        """Return the empty memory of so many streams."""
        empty = self.classifier.linear.weight.new_empty(
            batch, self.retrieval.num_heads, 0, self.retrieval.head_dim
        )
        return AGAState(empty, empty, ())

    def step(
        self, features: Float[Tensor, "batch feature"], state: AGAState
    ) -> tuple[Float[Tensor, "batch actions"], AGAState]:
        """Return the logits of the next step of each stream, and the memory after it.

        Step by step this is what `forward` computes. The old state stays as it is, so that several
        continuations of it are possible.
        """
        frame = self.encode(features.unsqueeze(1)).at(0)
        answer = self._answer(frame, state)
        return answer.logits, self._remember(frame, answer, answer.logits, False, state)

    def with_past(
        self, state: AGAState, predictions: Float[Tensor, "batch steps actions"]
    ) -> AGAState:
        """Return a state that remembers the same values, but other predictions.

        Differentiable in `predictions`, as a counterfactual past needs it. To exchange the keys or
        the query alone, combine the fields of both states.

        Args:
            state: Memory after some steps.
            predictions: Logits of all these steps, oldest first.

        Raises:
            ConfigError: Attention is visual.
        """
        guidance = self._guidance()
        sources, summary = [], ()
        for prediction in predictions.unbind(dim=1):
            source, summary = guidance(prediction, False, summary)
            sources.append(source)
        keys = self._to_store(torch.stack(sources[-self.queue_length :], dim=1))
        return AGAState(keys, state.values, summary)

    def attention_scores(
        self, queries: Float[Tensor, "queries actions"], keys: Float[Tensor, "keys actions"]
    ) -> Float[Tensor, "queries heads keys"]:
        """Return the attention logits of every query for every key; frames play no part.

        Args:
            queries: Vectors in the space of queries, such as one-hot actions.
            keys: Vectors in the space of keys, such as multiples of one-hot actions.

        Raises:
            ConfigError: Attention is visual.
        """
        self._guidance()
        asked = self.retrieval.queries(self.query_encoder(queries).unsqueeze(0))
        stored = self.retrieval.keys(self.key_encoder(keys).unsqueeze(0))
        return rearrange(
            self.retrieval.scores(asked, stored), "1 heads queries keys -> queries heads keys"
        )

    def encode(self, features: Float[Tensor, "batch steps feature"]) -> Frames:
        """Return all that depends on frames alone, for all steps at once."""
        encoded = self.frame_norm(self.frame_encoder(features))
        values = None if self.remembers_fused else self.retrieval.values(encoded)
        return Frames(encoded, values, self.fusion.prepare(encoded))

    def _steps(
        self,
        features: Float[Tensor, "batch steps feature"],
        past: Past | Int[Tensor, "batch steps"] | None,
    ) -> Iterator[Step]:
        if isinstance(past, Tensor):
            past = labelled_past(past, self.num_classes)
        frames = self.encode(features)
        state = self.initial_state(len(features))
        num_steps = features.shape[1]
        for now in range(num_steps):
            answer = self._answer(frames.at(now), state)
            prediction = answer.logits if past is None else past.replace(answer.logits, now)
            yield Step(state, answer, prediction)
            if now + 1 < num_steps:
                certain = past is not None and past.certain
                state = self._remember(frames.at(now), answer, prediction, certain, state)

    def _answer(self, frame: Frame, state: AGAState) -> Answer:
        """Return what a step predicts; without a memory the frame replaces the history."""
        keys, values = state.keys, state.values
        if values.shape[2] == 0:
            fused = self.history_norm(frame.encoded)
            gate = fused.new_zeros(len(fused), self.fusion.width)
            attention = values.flatten(start_dim=2)
        else:
            query = frame.encoded if self.guidance is None else state.summary[0]
            if self.redraws_keys:
                keys = self._keys(keys)
            history, attention = self.retrieval(self.query_encoder(query), keys, values)
            fused, gate = self.fusion(self.history_norm(history), frame.encoded, frame.gate_half)
        return Answer(self.classifier(fused), fused, gate, attention)

    def _remember(
        self, frame: Frame, answer: Answer, prediction: Prediction, certain: bool, state: AGAState
    ) -> AGAState:
        """Return the memory with one more step, without the oldest when it is full."""
        remembered = answer.fused if self.remembers_fused else frame.encoded
        source, summary = remembered, state.summary
        if self.guidance is not None:
            source, summary = self.guidance(prediction, certain, summary)
        value = frame.value
        if value is None:
            value = self.retrieval.values(remembered.unsqueeze(1))
        key = self._to_store(source.unsqueeze(1))
        return AGAState(self._append(state.keys, key), self._append(state.values, value), summary)

    def _append(self, stored: Tensor, new: Tensor) -> Tensor:
        start = max(0, stored.shape[-2] + 1 - self.queue_length)
        return torch.cat([stored[..., start:, :], new], dim=-2) if stored.shape[-2] else new

    def _to_store(self, sources: Float[Tensor, "batch steps source"]) -> Tensor:
        return sources if self.redraws_keys else self._keys(sources)

    def _keys(self, sources: Float[Tensor, "batch steps source"]) -> Heads:
        return self.retrieval.keys(self.key_encoder(sources))

    def _guidance(self) -> ActionGuidance:
        if self.guidance is None:
            raise ConfigError(
                "this AGA has visual attention: no prediction plays a part in it; "
                "use one with attention: action_guided"
            )
        return self.guidance


def _check(hidden_dim: int, num_heads: int, queue_length: int, ema_weight: float) -> None:
    if num_heads < 1 or hidden_dim < 1 or hidden_dim % num_heads:
        raise ConfigError(f"num_heads ({num_heads}) must divide hidden_dim ({hidden_dim})")
    if queue_length < 1:
        raise ConfigError(f"queue_length must be at least 1, got {queue_length}")
    if not 0 < ema_weight <= 1:
        raise ConfigError(f"ema_weight must lie above 0 and at most be 1, got {ema_weight}")


PREFIXES = ("graph.P.", "P.", "model.")
"""What all names may start with: the name of the object that was saved."""

NUM_HEADS = 16
"""Of all released networks; the tensors do not show it."""

ATTENTION, MLP = "state_transform.target_f1", "state_transform.target_f2.fn"

MODULES = {
    "frame_encoder.norm": "encoder.0",
    "frame_encoder.linear": "encoder.3",
    "frame_norm": "encoder.4",
    "query_encoder.norm": "encode_q.0",
    "query_encoder.linear": "encode_q.3",
    "query_encoder": "encode_q",
    "key_encoder.norm": "encode_k.0",
    "key_encoder.linear": "encode_k.3",
    "retrieval.query_norm": f"{ATTENTION}.q_norm",
    "retrieval.key_norm": f"{ATTENTION}.k_norm",
    "retrieval.value_norm": f"{ATTENTION}.v_norm",
    "retrieval.query_proj": f"{ATTENTION}.fn.q_f",
    "retrieval.key_proj": f"{ATTENTION}.fn.k_f",
    "retrieval.value_proj": f"{ATTENTION}.fn.v_f",
    "retrieval.out_proj": f"{ATTENTION}.fn.to_out.0",
    "retrieval.mlp.0": f"{MLP}.q_norm",
    "retrieval.mlp.1": f"{MLP}.fn.net.0",
    "retrieval.mlp.4": f"{MLP}.fn.net.3",
    "history_norm": "hx_norm",
    "fusion.gate.from_frame": "selector.0",
    "fusion.gate.from_history": "selector.0",
    "fusion.gate.out": "selector.3",
    "classifier.norm": "anticipation_classifier.0",
    "classifier.linear": "anticipation_classifier.3",
}
"""Our name of each module, and the authors'."""

NEVER_TRAINED = (f"{MLP}.k_norm", f"{MLP}.v_norm")
"""Modules of theirs that no output depends on."""

LSTM, LSTM_TENSORS = "guidance.summarise.cell", ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""Their name of the LSTM is not known: its tensors are."""


@checked_choices
def aga_from_reference(
    state_dict: Any,
    *,
    queue_length: int = 30,
    query: QueryKind = "ema_released",
    gate: GateKind = "elementwise",
    attention: AttentionKind = "action_guided",
) -> AGA:
    """Build AGA with the weights of the authors' code.

    Args:
        state_dict: Their tensors by name, also with a prefix or as entry `state_dict` of a mapping.
        queue_length: Steps remembered.
        query: Summary of the predictions that the weights were trained with.
        gate: Gate that they were trained with.
        attention: Attention that they were trained with.

    Returns:
        The network, in training mode as every new module. Tensors that the chosen variant does not
        use are left out.

    Raises:
        CheckpointError: Not a state dict; a tensor is missing, of another size or unknown.
    """
    settings = reference_settings(
        state_dict, queue_length=queue_length, query=query, gate=gate, attention=attention
    )
    network = AGA(**settings)
    tensors = reference_tensors(state_dict, "an AGA", PREFIXES)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(_find(name, parameter, tensors))
    return network


def reference_settings(
    state_dict: Any,
    *,
    queue_length: int,
    query: QueryKind,
    gate: GateKind,
    attention: AttentionKind,
) -> dict[str, Any]:
    """Return the arguments of `AGA` that fit the tensors; errors as of `aga_from_reference`."""
    tensors = reference_tensors(state_dict, "an AGA", PREFIXES)
    _refuse_unknown(tensors)
    hidden_dim, feature_dim = matrix_size(tensors, "encoder.3.weight")
    num_classes, _ = matrix_size(tensors, "anticipation_classifier.3.weight")
    _, bottleneck = matrix_size(tensors, f"{ATTENTION}.fn.q_f.weight")
    if hidden_dim % NUM_HEADS:
        raise CheckpointError(
            f"'encoder.3.weight' has {hidden_dim} rows, expected a multiple of {NUM_HEADS}, "
            "the number of heads of every AGA"
        )
    return {
        "num_classes": num_classes,
        "feature_dim": feature_dim,
        "hidden_dim": hidden_dim,
        "bottleneck": bottleneck,
        "num_heads": NUM_HEADS,
        "query": query,
        "attention": attention,
        "gate": gate,
        "queue_length": queue_length,
        "input_norm": any(name.startswith("encoder.0.") for name in tensors),
    }


def _refuse_unknown(tensors: Mapping[str, Tensor]) -> None:
    known = {*MODULES.values(), *NEVER_TRAINED}
    for name in tensors:
        module, _, parameter = name.rpartition(".")
        if parameter not in LSTM_TENSORS and (
            module not in known or parameter not in ("weight", "bias", "g")
        ):
            raise CheckpointError(f"unknown tensor '{name}': the weights are not those of an AGA")


def _find(name: str, parameter: Tensor, tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the values of one of our parameters."""
    theirs = _their_name(name, tensors)
    if theirs not in tensors:
        raise _missing(theirs)
    tensor, expected = tensors[theirs], tuple(parameter.shape)
    if theirs == "selector.0.weight":  # one matrix for [frame, history]
        expected = (expected[0], 2 * expected[1])
    if tuple(tensor.shape) != expected:
        raise CheckpointError(
            f"'{theirs}' is {tuple(tensor.shape)}, expected {expected}: "
            "choose query, gate and attention as in training"
        )
    if theirs == "selector.0.weight":
        return tensor.chunk(2, dim=1)["from_history" in name]
    return tensor


def _their_name(name: str, tensors: Mapping[str, Tensor]) -> str:
    module, _, parameter = name.rpartition(".")
    if module == LSTM:
        endings = (theirs for theirs in tensors if theirs.rpartition(".")[2] == parameter)
        return next(endings, parameter)
    return f"{MODULES[module]}.{'g' if parameter == 'gain' else parameter}"


def _missing(name: str) -> CheckpointError:
    return CheckpointError(
        f"tensor '{name}' is missing: choose query, gate and attention as in training"
    )
