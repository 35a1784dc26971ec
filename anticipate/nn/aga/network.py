"""AGA, action-guided attention: a network that looks back guided by its own predictions.

Each step sees its frame e_t and a history h~_t, which attention fetches from the last S steps:
query y-_t = moving average of the predictions, keys = predictions, values = frames. A gate weighs
history against frame, and a classifier predicts the action one step later.

The paper's text and the authors' code differ in two places. Queries follow the text by default
(`query="ema"`; `ema_released` is the code's). The text speaks of predictions y^ as keys where the
code stores their logits; LayerNorm follows at once and hides scale and shift, and the published
figures come from the code, so keys are logits unless `key_space` says otherwise.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError
from anticipate.nn.aga.fusion import Fusion, GateKind
from anticipate.nn.aga.guidance import ActionGuidance
from anticipate.nn.aga.layers import Encoder, ScaleNorm
from anticipate.nn.aga.past import Past, labelled_past
from anticipate.nn.aga.query import EmaStart, Prediction, QueryKind, Space
from anticipate.nn.aga.retrieval import Heads, Retrieval
from anticipate.nn.aga.state import AGAState, Answer, Frame, Frames, Step
from anticipate.nn.aga.trace import AGATrace, collect
from anticipate.nn.linear import Linear

AttentionKind = Literal["action_guided", "visual"]
ValueKind = Literal["frames", "fused"]


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
        ema_start: Where the average starts: at the `first` prediction or at `uniform` ones.
        attention: Queries and keys from predictions (`action_guided`) or from frames (`visual`).
        gate: Weight per channel (`elementwise`), one weight (`scalar`), history + frame as in the
            authors' code (`none`), or the `history` alone as in the paper's table.
        queue_length: Steps remembered, S.
        query_space: Queries from `probs` or `logits`.
        key_space: Keys from `logits` or `probs`.
        hard_top1: Whether only the best action of a prediction is remembered.
        values: Values from encoded `frames` or from `fused` vectors.
        redraw_key_dropout: Whether training draws the dropout of stored keys anew at every step, as
            the authors' code does by encoding the whole queue again.
        input_norm: Whether LayerNorm comes before the frame encoder.

    Raises:
        ConfigError: For sizes that do not fit together, or a word that is not offered.
    """

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
        ema_start: EmaStart = "first",
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
                num_classes, query, ema_weight, ema_start, query_space, key_space, hard_top1
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

        Step by step this is what `forward` computes. The old state stays as it is, so that one can
        go on from it in several ways.
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
