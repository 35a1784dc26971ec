"""Training of networks that predict the next action at every step of a clip (AGA Sec. 4)."""

from collections.abc import Callable, Sequence

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from anticipate.choices import checked_choices
from anticipate.models.anticipation_loss import Reduction, anticipation_loss, class_weights
from anticipate.models.learning_rate import OptimizerCallable, cosine
from anticipate.models.network_settings import KeepsNetwork
from anticipate.models.own_forecasts import require_inputs
from anticipate.models.seeds import seed_of
from anticipate.models.short_term_anticipator import ShortTermAnticipator
from anticipate.nn.aga import AGA
from anticipate.nn.aga_past import Placement, perturbed_past
from anticipate.nn.cuda_graphs import Accelerate, GraphedTraining
from anticipate.types import ShortTermBatch, ShortTermForecast, ShortTermProtocol

__all__ = ["SequenceAnticipator"]


class SequenceAnticipator(KeepsNetwork, ShortTermAnticipator):
    """Trains a network on every step of a clip at once and scores what its last step predicts.

    The learning rate falls to 0 along a cosine over the steps. What is random in a training step
    follows from (seed, step), so a resumed run repeats what an uninterrupted one would have done.

    Args:
        num_classes: Number of actions; set from the data.
        feature_dim: Width of the features; set from the data.
        protocol: What is scored, and on which rows and classes; set from the data.
        class_counts: Training rows of each action; set from the data.
        network: Network; called with num_classes and feature_dim, maps features
            (batch, steps, feature_dim) to logits (batch, steps, num_classes).
        optimizer: Optimizer of all parameters.
        warmup_steps: Steps during which the learning rate rises.
        loss_reduction: `mean` (over labelled steps) or `released` (as AGA's public code).
        class_weighting: Whether actions weigh 1 / sqrt(rows + 1), divided by the mean of that.
        seed: Seed of what is random in training, such as dropout, and of the perturbation.
        perturbed_steps: Past predictions of a clip that noise replaces in AGA's memory wherever it
            is scored, never in training.
        perturbed_placement: Which ones: `random` steps or a `block` of neighbouring ones.
        accelerate: `auto` launches training steps of a `capturable` network, as AGA is, by CUDA
            graphs on a GPU; `none` never.
    """

    weights: Tensor | None
    schedule_needs_max_epochs = True
    """The learning rate falls to 0 over all epochs: a training of another length is another one."""

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        protocol: ShortTermProtocol,
        class_counts: Sequence[int],
        network: Callable[[int, int], nn.Module] = AGA,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup_steps: int = 0,
        loss_reduction: Reduction = "mean",
        class_weighting: bool = True,
        seed: int = 0,
        perturbed_steps: int = 0,
        perturbed_placement: Placement = "random",
        accelerate: Accelerate = "auto",
    ) -> None:
        super().__init__(protocol)
        self.save_hyperparameters(
            logger=False, ignore=["protocol", "class_counts", "grid", "network", "optimizer"]
        )
        self.num_classes = num_classes
        self.network = network(num_classes, feature_dim)
        require_inputs(self, self.network, "features")
        capturable = getattr(self.network, "capturable", False)
        self.graphed = GraphedTraining(self.network, accelerate if capturable else "none")
        self.optimizer, self.warmup_steps = optimizer, warmup_steps
        self.loss_reduction, self.seed = loss_reduction, seed
        self.perturbed_steps, self.perturbed_placement = perturbed_steps, perturbed_placement
        weights = class_weights(class_counts) if class_weighting else None
        self.register_buffer("weights", weights, persistent=False)

    @property
    def method(self) -> str:
        """Name of the network, which is what papers call the method."""
        return type(self.network).__name__

    def on_fit_start(self) -> None:
        """Do without CUDA graphs where gradients are added up or exchanged."""
        trainer = self.trainer
        self.graphed.check_training(
            self.device, trainer.world_size, trainer.accumulate_grad_batches
        )

    def on_train_batch_start(self, batch: ShortTermBatch, batch_idx: int) -> None:
        """Let what is random follow from the seed and the step alone."""
        torch.manual_seed(seed_of(self.seed, "train", self.global_step, self.global_rank))

    def training_step(self, batch: ShortTermBatch) -> Tensor:
        """Return the loss of a batch, and log it with its parts."""
        loss, parts = self.loss(batch)
        named = {f"train/{name}": part for name, part in {"loss": loss, **parts}.items()}
        rows = len(batch.segment_ids)
        self.log_dict(named, on_step=False, on_epoch=True, sync_dist=True, batch_size=rows)
        return loss

    def loss(self, batch: ShortTermBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what training minimizes (AGA's public code), and parts of it to log."""
        logits = self.graphed(batch.features)
        targets = batch.step_targets
        return anticipation_loss(logits, targets, self.weights, self.loss_reduction), {}

    def forecast(self, batch: ShortTermBatch) -> ShortTermForecast:
        """Score the actions that each step of the clips anticipates."""
        if not self.perturbed_steps:
            return ShortTermForecast(self.network(batch.features))
        seeds = [seed_of(self.seed, "past", segment) for segment in batch.segment_ids]
        past = perturbed_past(
            seeds,
            batch.features.shape[1],
            self.num_classes,
            self.perturbed_steps,
            self.perturbed_placement,
        )
        return ShortTermForecast(self.network(batch.features, past))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the optimizer and the cosine of the learning rate.

        Raises:
            ConfigError: The trainer does not know the length of the training.
        """
        optimizer = self.optimizer(self.network.parameters())
        schedule = cosine(optimizer, self.trainer, self.warmup_steps)
        return {"optimizer": optimizer, "lr_scheduler": schedule}
