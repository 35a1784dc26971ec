"""Training of TeSTra: every token names all actions, verbs and nouns that its tick shows."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from anticipate.choices import checked_choices
from anticipate.errors import ConfigError
from anticipate.models.learning_rate import OptimizerCallable, cosine_times_rise
from anticipate.models.multi_label_loss import multi_label_loss
from anticipate.models.network_settings import KeepsNetwork
from anticipate.models.seeds import seed_of
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.nn.mixant import load_balancing_loss
from anticipate.nn.testra import OUTPUTS, TeSTra
from anticipate.types import ShortTermBatch, ShortTermForecast, ShortTermProtocol, TickBatch

__all__ = ["TeSTraAnticipator"]

RARE = 0.003
"""Share of the training segments below which an action is rare (equalisation)."""


class TeSTraAnticipator(KeepsNetwork, ShortTermAnticipator):
    """Trains TeSTra on the windows of `TickWindows` and scores one of their tokens.

    Args:
        num_classes: Number of actions; set from the data.
        feature_dim: Width of the features; set from the data.
        protocol: What is scored, and on which rows and classes; set from the data.
        class_counts: Training segments of each action; set from the data.
        network: TeSTra; called with the numbers of actions, channels, verbs and nouns.
        optimizer: Optimizer of all parameters.
        warmup_epochs: Epochs during which the learning rate rises from `warmup_start`.
        warmup_start: Share of the learning rate at the first step.
        drop_rate: How often a rare action is left out of the softmax of a token that does not show
            it; 0 for no equalisation.
        load_balancing: Weight lambda of the load balancing loss, where there is a router (Eq. 19
            of MixANT).
        verb_noun: What verbs and nouns score: their own `heads`, or sums over actions (`marginal`).
        seed: Seed of what is random in training.
    """

    reads_windows = True
    schedule_needs_max_epochs = True
    """The learning rate falls to 0 over all epochs: a training of another length is another one."""
    network: TeSTra
    rare: Tensor

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        protocol: ShortTermProtocol,
        class_counts: Sequence[int],
        network: Callable[[int, int, int, int], TeSTra] = TeSTra,
        optimizer: OptimizerCallable = torch.optim.Adam,
        warmup_epochs: int = 5,
        warmup_start: float = 0.3,
        drop_rate: float = 0.95,
        load_balancing: float = 0.1,
        verb_noun: Literal["heads", "marginal"] = "heads",
        seed: int = 0,
    ) -> None:
        super().__init__(protocol)
        self.save_hyperparameters(
            logger=False, ignore=["protocol", "class_counts", "network", "optimizer"]
        )
        self.num_classes = num_classes
        taxonomy = protocol.taxonomy
        self.network = network(num_classes, feature_dim, taxonomy.num_verbs, taxonomy.num_nouns)
        self.optimizer, self.seed = optimizer, seed
        self.warmup_epochs, self.warmup_start = warmup_epochs, warmup_start
        self.drop_rate, self.load_balancing = drop_rate, load_balancing
        self.scores_verbs_and_nouns = verb_noun == "heads"
        counts = torch.tensor(class_counts, dtype=torch.float64)
        self.register_buffer("rare", counts < RARE * counts.sum(), persistent=False)
        verbs, nouns = torch.tensor(taxonomy.verbs), torch.tensor(taxonomy.nouns)
        self.class_of = {"action": torch.arange(num_classes), "verb": verbs, "noun": nouns}

    @property
    def method(self) -> str:
        """Name of the system in tables, which tells its block."""
        return self.network.method

    def setup(self, stage: str) -> None:
        """Compare the windows with the network.

        Raises:
            ConfigError: They are clips, or have another number of long tokens.
        """
        super().setup(stage)
        windows = getattr(getattr(self.trainer, "datamodule", None), "windows", None)
        if windows is not None and windows.long_steps != self.network.long_steps:
            raise ConfigError(
                f"data.windows has long_steps {windows.long_steps}, the network "
                f"{self.network.long_steps}: expected the same"
            )

    def check_forecast(self, batch: ShortTermBatch | TickBatch) -> None:
        """Compare the outputs of the network with the classes, then do what all models do.

        Raises:
            ConfigError: An output does not have a column for the background and one a class.
        """
        assert isinstance(batch, TickBatch)
        outputs = self.network(batch.features, batch.padding)[:3]
        taxonomy = self.metric("test").protocol.taxonomy
        expected = [1 + self.num_classes, 1 + taxonomy.num_verbs, 1 + taxonomy.num_nouns]
        found = [scores.shape[-1] for scores in outputs]
        if found != expected:
            raise ConfigError(
                f"the network scores {found} actions, verbs and nouns: expected {expected}, the "
                "background first"
            )
        super().check_forecast(batch)

    def on_train_batch_start(self, batch: TickBatch, batch_idx: int) -> None:
        """Let what is random follow from the seed and the step alone."""
        torch.manual_seed(seed_of(self.seed, "train", self.global_step, self.global_rank))

    def training_step(self, batch: TickBatch) -> Tensor:
        """Return the sum of the three losses and that of load balancing, and log them."""
        output = self.network(batch.features, batch.padding)
        losses = {
            name: self._loss(name, logits, batch)
            for name, logits in zip(OUTPUTS, output[:3], strict=True)
        }
        loss = torch.stack(list(losses.values())).sum()
        if len(output.gamma):
            losses["load_balancing"] = load_balancing_loss(output.gamma)
            share = self.load_balancing
            loss = (1 - share) * loss + share * losses["load_balancing"]
        named = {f"train/{name}": value for name, value in {"loss": loss, **losses}.items()}
        rows = len(batch.segment_ids)
        self.log_dict(named, on_step=False, on_epoch=True, sync_dist=True, batch_size=rows)
        return loss

    def forecast(self, batch: TickBatch) -> ShortTermForecast:
        """Score the actions, verbs and nouns of the token that counts."""
        output = self.network(batch.features, batch.padding)
        rows = torch.arange(len(batch.tokens), device=batch.tokens.device)
        action, verb, noun = (
            scores[rows, batch.tokens, 1:].masked_fill(batch.tokens[:, None] < 0, 0).unsqueeze(1)
            for scores in output[:3]
        )
        if not self.scores_verbs_and_nouns:
            return ShortTermForecast(action)
        return ShortTermForecast(action, verb, noun)

    def _loss(self, name: str, logits: Tensor, batch: TickBatch) -> Tensor:
        targets = multi_hot(batch.labels, batch.weights, self.class_of[name], logits.shape[-1] - 1)
        rare = self.rare if name == "action" and self.drop_rate else None
        return multi_label_loss(logits.flatten(0, 1), targets.flatten(0, 1), rare, self.drop_rate)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer and its schedule.

        Raises:
            ConfigError: The trainer does not know the length of the training.
        """
        optimizer = self.optimizer(self.network.parameters())
        schedule = cosine_times_rise(optimizer, self.trainer, self.warmup_epochs, self.warmup_start)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


def multi_hot(
    labels: Int[Tensor, "batch tokens sources labels"],
    weights: Float[Tensor, "batch tokens sources"],
    class_of: Int[Tensor, " actions"],
    num_classes: int,
) -> Float[Tensor, "batch tokens columns"]:
    """Return targets in which column 0 is the background.

    Args:
        labels: Actions that a token shows, of its own video and of one mixed in; -1 after them.
        weights: Weight of the two.
        class_of: Class of each action: itself, its verb or its noun.
        num_classes: Number of these classes.
    """
    columns = torch.where(labels < 0, 0, 1 + class_of.to(labels.device)[labels.clamp(min=0)])
    shape = (*labels.shape[:-1], num_classes + 1)
    hot = torch.zeros(shape, device=labels.device).scatter(-1, columns, 1.0)
    hot[..., 0] = (labels < 0).all(dim=-1).to(hot.dtype)
    return (hot * weights.unsqueeze(-1)).sum(dim=-2)
