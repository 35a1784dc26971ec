"""What AGA makes of its predictions: Q_t = E_Q(y-_t) and K_t = E_K(y^_{t-S:t-1})."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from anticipate.nn.aga.query import (
    EmaStart,
    Prediction,
    QueryKind,
    Space,
    Summary,
    make_query,
)


class ActionGuidance(nn.Module):
    """Turns each prediction into what its key is made of, and into a part of the query.

    Args:
        num_classes: Number of actions.
        query: How predictions make a query.
        ema_weight: Weight alpha of the newest prediction in it.
        ema_start: Where the moving average starts.
        query_space: Whether queries are made of probabilities or logits.
        key_space: The same for keys.
        hard_top1: Whether only the best action of a prediction counts, as a one-hot vector.
    """

    def __init__(
        self,
        num_classes: int,
        query: QueryKind,
        ema_weight: float,
        ema_start: EmaStart,
        query_space: Space,
        key_space: Space,
        hard_top1: bool,
    ) -> None:
        super().__init__()
        self.query_space, self.key_space, self.hard_top1 = query_space, key_space, hard_top1
        # The authors' code takes one-hot vectors for logits when it makes queries; LayerNorm's
        # epsilon then leaves next to nothing of them. Only the query that is theirs keeps this.
        self.softens_certainty = query == "ema_released"
        self.summarise = make_query(query, num_classes, ema_weight, ema_start, query_space)

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
