"""Stochastic dense anticipation by diffusion over label sequences (MixANT Sec. 4).

The model is a denoiser network plus this training and sampling procedure. Everything random in a
training step follows from (seed, step), so a resumed run repeats what an uninterrupted one would
have done.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor

from anticipate.choices import checked_choices
from anticipate.datasets.batches.buckets import LengthBuckets
from anticipate.diffusion.objective import Reduction, add_noise, one_hot, reconstruction_loss
from anticipate.diffusion.sampling import in_parts, initial_noise, sample
from anticipate.diffusion.schedule import (
    Sampler,
    Spacing,
    cosine_alphas_cumprod,
    make_scheduler,
)
from anticipate.errors import ConfigError
from anticipate.models.averaging import WarmUpEMA
from anticipate.models.dense_anticipator import DenseAnticipator, decay_groups
from anticipate.models.learning_rate import OptimizerCallable, cosine, plateau
from anticipate.models.network_settings import KEY, check_network, plain_settings
from anticipate.models.seeds import forecast_seeds, seed_of
from anticipate.nn.cuda_graphs import Accelerate, GraphedDenoiser
from anticipate.nn.denoiser import Denoiser, DenoiserOutput
from anticipate.nn.mixant import MixANT, expert_usage, load_balancing_loss, router_entropy
from anticipate.types import DenseBatch, DenseForecast

__all__ = ["DiffusionAnticipator"]

LearningRate = Literal["plateau", "cosine"]


class DiffusionAnticipator(DenseAnticipator):
    """Trains a denoiser to recover label sequences from noise and samples futures from it.

    Args:
        num_classes: Number of action classes; set from the data.
        feature_dim: Width of the features; set from the data.
        sample_rate: Frames per token; set from the data.
        obs_ratios: Observation ratios alpha to score; set from the data.
        pred_ratios: Horizons beta to score; set from the data.
        denoiser: Network; called with num_classes and feature_dim.
        optimizer: Optimizer; matrices decay, everything else does not.
        ema_decay: Largest decay of the averaged weights that are tested; null for no averaging.
        ema_window: Largest window of the average as a share of the training, in place of
            `ema_decay`; null for the rule of the public code.
        lr_schedule: `plateau`, as the public code, or `cosine`, which falls to 0 over all steps.
        warmup_steps: Steps during which the learning rate of `cosine` rises.
        plateau_factor: Factor of the learning rate when the epoch's training loss stops falling.
        plateau_patience: Epochs without progress before that.
        load_balancing: Weight lambda of the load balancing loss in Eq. 19.
        balancing_momentum: Weight of the steps before in the usage that Eq. 17 balances; 0 for that
            of the batch alone.
        loss_reduction: `mean` (per token) or `released` (as the public code of GTDA and MANTA:
            an item counts as much as it is long, as in batches that are not sorted by length).
        self_conditioning_prob: Share of training steps that see their own first estimate.
        num_train_timesteps: Diffusion steps T in training.
        seed: Seed of noise in training and of the futures.
        sampler: Solver: `ddim`, `dpmsolver++` or `unipc`.
        num_inference_steps: Denoising steps when sampling.
        timestep_spacing: Which steps: `leading`, as the field's code, or `trailing`, which start
            at pure noise however few they are.
        num_samples: Futures per video.
        max_tokens: Tokens denoised at once; bounds the memory of sampling and changes no result.
            Halved where memory does not suffice.
        accelerate: `auto` launches the network by CUDA graphs where it runs on a GPU; `none` never.
    """

    alphas_cumprod: Tensor
    usage: Tensor | None
    """Running average of the router's probabilities (blocks, routers, experts)."""

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        sample_rate: int,
        obs_ratios: Sequence[float] = (0.2, 0.3),
        pred_ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
        denoiser: Callable[[int, int], Denoiser] = MixANT,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        ema_decay: float | None = 0.995,
        ema_window: float | None = None,
        lr_schedule: LearningRate = "plateau",
        warmup_steps: int = 0,
        plateau_factor: float = 0.5,
        plateau_patience: int = 10,
        load_balancing: float = 0.1,
        balancing_momentum: float = 0.0,
        loss_reduction: Reduction = "mean",
        self_conditioning_prob: float = 0.5,
        num_train_timesteps: int = 1000,
        seed: int = 0,
        sampler: Sampler = "ddim",
        num_inference_steps: int = 50,
        timestep_spacing: Spacing = "leading",
        num_samples: int = 25,
        max_tokens: int = 100_000,
        accelerate: Accelerate = "auto",
    ) -> None:
        super().__init__(num_classes, sample_rate, obs_ratios, pred_ratios)
        self.save_hyperparameters(logger=False, ignore=["denoiser", "optimizer"])
        if num_samples < 1 or max_tokens < 1:
            raise ConfigError(
                f"num_samples is {num_samples}, max_tokens {max_tokens}: expected 1 or more"
            )
        if not 0 <= self_conditioning_prob <= 1:
            raise ConfigError(
                f"self_conditioning_prob is {self_conditioning_prob}: expected 0 to 1"
            )
        if ema_window is not None and not 0 < ema_window <= 1:
            raise ConfigError(f"ema_window is {ema_window}: expected a share of the training")
        if warmup_steps and lr_schedule == "plateau":
            raise ConfigError(f"warmup_steps is {warmup_steps}: it needs lr_schedule cosine")
        # Refuses wrong counts before training.
        make_scheduler(sampler, num_train_timesteps, num_inference_steps, timestep_spacing)
        self.denoiser = denoiser(num_classes, feature_dim)
        self.graphed = GraphedDenoiser(self.denoiser, accelerate)
        self.optimizer, self.ema_decay, self.ema_window = optimizer, ema_decay, ema_window
        self.lr_schedule, self.warmup_steps = lr_schedule, warmup_steps
        self.register_buffer(
            "alphas_cumprod", cosine_alphas_cumprod(num_train_timesteps), persistent=False
        )
        self.plateau_factor, self.plateau_patience = plateau_factor, plateau_patience
        self.load_balancing, self.loss_reduction = load_balancing, loss_reduction
        self.length_weight = 1.0
        self.balancing_momentum, self.usage = balancing_momentum, None
        self.self_conditioning_prob, self.num_train_timesteps = (
            self_conditioning_prob,
            num_train_timesteps,
        )
        self.seed, self.sampler, self.num_inference_steps = seed, sampler, num_inference_steps
        self.timestep_spacing = timestep_spacing
        self.num_samples, self.max_tokens = num_samples, max_tokens

    @property
    def method(self) -> str:
        """Name of the network, which is what papers call the method."""
        return self.denoiser.method

    def on_fit_start(self) -> None:
        """Do without CUDA graphs of training steps where gradients are added up or exchanged."""
        trainer = self.trainer
        self.graphed.check_training(
            self.device, trainer.world_size, trainer.accumulate_grad_batches
        )

    def on_train_batch_start(self, batch: DenseBatch, batch_idx: int) -> None:
        """Weigh the batch of `released` by its padded length over the mean of the epoch.

        That loss divides an item by the padded length of its batch. In shuffled batches that is
        much the same for all items; where batches are sorted by length, short items would count as
        much as long ones.
        """
        batches = getattr(self.trainer.train_dataloader, "batch_sampler", None)
        if self.loss_reduction == "released" and isinstance(batches, LengthBuckets):
            self.length_weight = batch.targets.shape[1] / batches.mean_padded_length

    def training_step(self, batch: DenseBatch) -> Tensor:
        """Return (1 - lambda) L_rec + lambda L_lb (Eq. 19)."""
        x_0 = one_hot(batch.targets, batch.valid, self.num_classes)
        output = self._denoise_noisy(batch, x_0)
        losses = [
            reconstruction_loss(x_0, stage, batch.valid, self.loss_reduction)
            for stage in output.stages
        ]
        reconstruction = self.length_weight * torch.stack(losses).sum()
        balancing = load_balancing_loss(output.gamma, self._usage_before(output.gamma))
        loss = (1 - self.load_balancing) * reconstruction + self.load_balancing * balancing
        self._log_training(loss, reconstruction, balancing, output.gamma, len(x_0))
        return loss

    def _usage_before(self, gamma: Tensor) -> Tensor:
        """Return what the usage of the batch is to be moved by: the running average's difference.

        It has no gradient, so that lambda keeps its scale.
        """
        batch = gamma.detach().mean(dim=2)
        before = batch if self.usage is None else self.usage.to(batch)
        self.usage = torch.lerp(batch, before, self.balancing_momentum)
        return self.usage - batch

    def _denoise_noisy(
        self, batch: DenseBatch, x_0: Float[Tensor, "batch tokens classes"]
    ) -> DenoiserOutput:
        seed = seed_of(self.seed, "train", self.global_step, self.global_rank)
        host = torch.Generator().manual_seed(seed)
        # Drawn where it is needed, as a copy would wait for the device.
        local = host if x_0.is_cpu else torch.Generator(x_0.device).manual_seed(seed)
        t = torch.randint(self.num_train_timesteps, (len(x_0),), generator=local, device=x_0.device)
        noise = torch.randn(x_0.shape, generator=local, device=x_0.device)
        x_t = add_noise(x_0, noise, t, self.alphas_cumprod)
        condition = self.denoiser.encode(batch.features, batch.observed)
        self_cond = None
        if torch.rand((), generator=host) < self.self_conditioning_prob:
            with torch.no_grad():
                self_cond = self.graphed(x_t, t, condition, batch.observed, batch.valid).x_0
        output = self.graphed(x_t, t, condition, batch.observed, batch.valid, self_cond)
        for name, estimate in (("an x_0", output.x_0), ("a stage", output.stages[-1])):
            if estimate.shape != x_t.shape:
                raise ConfigError(
                    f"{type(self.denoiser).__name__}.forward returned {name} of shape "
                    f"{tuple(estimate.shape)}: expected that of x_t, {tuple(x_t.shape)}"
                )
        return output

    def _log_training(
        self,
        loss: Tensor,
        reconstruction: Tensor,
        balancing: Tensor,
        gamma: Tensor,
        batch_size: int,
    ) -> None:
        values = {"train/loss": loss, "train/reconstruction": reconstruction}
        if len(gamma):
            usage = expert_usage(gamma).mean(dim=(0, 1))
            values |= {
                "train/load_balancing": balancing,
                "router/entropy": router_entropy(gamma),
                **{f"router/usage_expert{expert}": share for expert, share in enumerate(usage)},
            }
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=batch_size)

    @torch.no_grad()
    def forecast(self, batch: DenseBatch) -> DenseForecast:
        """Sample futures; each depends on (seed, video, ratio, sample), never on its batch."""
        num_tokens = batch.valid.sum(dim=1).tolist()
        seeds = forecast_seeds(self.seed, batch)
        noise = initial_noise(seeds, num_tokens, self.num_samples, self.num_classes)
        condition = self.denoiser.encode(batch.features, batch.observed)
        videos = torch.arange(len(seeds), device=self.device).repeat(self.num_samples)
        rows = noise.flatten(0, 1)
        at_once = max(1, self.max_tokens // noise.shape[2])

        def sample_rows(part: slice) -> Tensor:
            return self._sample_rows(batch, condition, videos[part], rows[part].to(self.device))

        tokens, fitting = in_parts(sample_rows, len(rows), at_once)
        if fitting < at_once:
            self.max_tokens = fitting * noise.shape[2]
        preds = tokens.unflatten(0, (self.num_samples, len(seeds)))
        return DenseForecast(preds.repeat_interleave(self.sample_rate, dim=2))

    def _sample_rows(
        self,
        batch: DenseBatch,
        condition: Float[Tensor, "videos tokens d_model"],
        videos: Int[Tensor, " rows"],
        x_T: Float[Tensor, "rows tokens classes"],
    ) -> Int[Tensor, "rows tokens"]:
        condition, observed, valid = condition[videos], batch.observed[videos], batch.valid[videos]

        def denoise(x_t: Tensor, t: Tensor, previous: Tensor | None) -> Tensor:
            return self.graphed(x_t, t, condition, observed, valid, previous).x_0

        scheduler = make_scheduler(
            self.sampler,
            self.num_train_timesteps,
            self.num_inference_steps,
            self.timestep_spacing,
        )
        return sample(denoise, x_T, scheduler).argmax(dim=-1)

    def configure_callbacks(self) -> list[Callback]:
        """Return the averaging of the weights: part of the recipe, not of the machine."""
        return [] if self.ema_decay is None else [WarmUpEMA(self.ema_decay, self.ema_window)]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the maker of the optimizer out of copies, as the average of the weights is one.

        Through jsonargparse it refers to the trainer, which cannot be copied where it has started
        other processes.
        """
        return {**super().__getstate__(), "optimizer": None}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the network was built with."""
        checkpoint[KEY] = plain_settings(self.denoiser)
        checkpoint["router_usage"] = self.usage

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse the weights of another network where Lightning has guessed it."""
        check_network(self, self.denoiser, checkpoint)
        self.usage = checkpoint.get("router_usage")

    @property
    def schedule_needs_max_epochs(self) -> bool:
        """Whether a training of another length is another training from its first step on."""
        return self.lr_schedule == "cosine" or self.ema_window is not None

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Return the optimizer, and a cosine or the plateau rule on the epoch's training loss."""
        optimizer = self.optimizer(decay_groups(self.denoiser))
        schedule = (
            cosine(optimizer, self.trainer, self.warmup_steps)
            if self.lr_schedule == "cosine"
            else plateau(optimizer, self.plateau_factor, self.plateau_patience)
        )
        return {"optimizer": optimizer, "lr_scheduler": schedule}
