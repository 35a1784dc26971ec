"""What AGA asks its memory for: a summary of the predictions made so far.

A summary is a tuple of tensors, empty before the first prediction; its first tensor is the query.
Glossary: y^_t = prediction of step t, y-_t = query of step t, alpha = weight of the newest.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

Space = Literal["probs", "logits"]
QueryKind = Literal["ema", "ema_released", "last", "lstm"]
EmaStart = Literal["first", "uniform"]

Prediction = Float[Tensor, "batch actions"]
Summary = tuple[Tensor, ...]


class Last(nn.Module):
    """The last prediction: y-_t = y^_{t-1}."""

    def forward(self, prediction: Prediction, summary: Summary) -> Summary:
        """Return the summary that includes one more prediction."""
        return (prediction,)


class Ema(nn.Module):
    """The paper's moving average: y-_t = alpha y^_{t-1} + (1 - alpha) y-_{t-1}.

    Args:
        weight: Weight alpha of the newest prediction.
        start: What is averaged with the first prediction: itself (`first`) or `uniform`
            predictions (equal probabilities; zero logits).
        space: What the predictions are.
    """

    def __init__(self, weight: float, start: EmaStart, space: Space) -> None:
        super().__init__()
        self.weight, self.start, self.space = weight, start, space

    def forward(self, prediction: Prediction, summary: Summary) -> Summary:
        """Return the summary that includes one more prediction."""
        if summary:
            (previous,) = summary
        else:
            previous = prediction if self.start == "first" else _uniform(prediction, self.space)
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
    kind: QueryKind, num_classes: int, weight: float, start: EmaStart, space: Space
) -> Last | Ema | ReleasedEma | LSTMQuery:
    """Return the module that summarises predictions."""
    if kind == "ema":
        return Ema(weight, start, space)
    if kind == "ema_released":
        return ReleasedEma(weight, space)
    return Last() if kind == "last" else LSTMQuery(num_classes)


def _uniform(like: Prediction, space: Space) -> Prediction:
    return torch.full_like(like, 1 / like.shape[-1] if space == "probs" else 0.0)
