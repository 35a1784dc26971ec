"""Stochastic dense anticipation by diffusion over the latents of future segments (DiffAnt)."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor

from anticipate.choices import checked_choices
from anticipate.diffusion.objective import add_noise
from anticipate.diffusion.sampling import Renoise, initial_noise, sample_latents
from anticipate.diffusion.schedule import ALPHAS_CUMPROD, Noise, make_scheduler
from anticipate.errors import ConfigError
from anticipate.models.future_segments import segment_labels, segment_losses, segment_targets
from anticipate.models.learning_rate import OptimizerCallable, WarmUp
from anticipate.models.query_anticipator import Decoding, QueryAnticipator
from anticipate.models.seeds import forecast_seeds
from anticipate.nn.diffant import DiffAnt
from anticipate.types import DenseBatch, DenseForecast

__all__ = ["LatentDiffusionAnticipator"]


class LatentDiffusionAnticipator(QueryAnticipator):
    """Trains a network to recover the latents of future segments from noise, and samples futures.

    It learns and reads segments as `QueryAnticipator` does.

    Args:
        num_classes: Number of action classes; set from the data.
        feature_dim: Width of the features; set from the data.
        sample_rate: Frames per token; set from the data.
        obs_ratios: Observation ratios alpha to score; set from the data.
        pred_ratios: Horizons beta to score; set from the data.
        network: Network; called with num_classes and feature_dim.
        optimizer: Optimizer of all parameters.
        warmup_epochs: Epochs during which the learning rate rises; then it falls to 0 along a
            cosine.
        warmup: `corrected` or `released`, as of `QueryAnticipator`.
        decoding: `corrected` or `released`, as of `QueryAnticipator`.
        seed: Seed of what is random in training, and of the futures.
        noise: Noise over the steps: `cosine` or `sqrt`.
        num_train_timesteps: Diffusion steps S in training.
        num_inference_steps: Estimates of a future; their steps are evenly spaced from S - 1 down.
        renoise: What is added to an estimate for the next one: `forward`, fresh noise, or `ddim`,
            the noise that the estimate leaves.
        num_samples: Futures per video.
        deterministic: One future instead, with zeros for all noise.
    """

    alphas_cumprod: Tensor
    network: DiffAnt
    inputs = ("z_s", "s", "memory")

    @checked_choices
    def __init__(
        self,
        num_classes: int,
        feature_dim: int,
        sample_rate: int,
        obs_ratios: Sequence[float] = (0.2, 0.3),
        pred_ratios: Sequence[float] = (0.1, 0.2, 0.3, 0.5),
        network: Callable[[int, int], DiffAnt] = DiffAnt,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        warmup_epochs: int = 10,
        warmup: WarmUp = "corrected",
        decoding: Decoding = "corrected",
        seed: int = 0,
        noise: Noise = "cosine",
        num_train_timesteps: int = 1000,
        num_inference_steps: int = 10,
        renoise: Renoise = "forward",
        num_samples: int = 25,
        deterministic: bool = False,
    ) -> None:
        super().__init__(
            num_classes,
            feature_dim,
            sample_rate,
            obs_ratios,
            pred_ratios,
            network,
            optimizer,
            warmup_epochs,
            warmup,
            decoding,
            seed,
        )
        self.save_hyperparameters(logger=False, ignore=["network", "optimizer"])
        if not isinstance(self.network, DiffAnt):
            raise ConfigError(f"the network is a {self.method}: expected a DiffAnt")
        if num_samples < 1:
            raise ConfigError(f"num_samples is {num_samples}: expected 1 or more")
        # Refuses wrong counts before training.
        self.timesteps = make_scheduler(
            "ddim", num_train_timesteps, num_inference_steps, "trailing"
        ).timesteps
        self.register_buffer(
            "alphas_cumprod", ALPHAS_CUMPROD[noise](num_train_timesteps), persistent=False
        )
        self.renoise, self.num_samples, self.deterministic = renoise, num_samples, deterministic

    def _losses(self, batch: DenseBatch) -> dict[str, Tensor]:
        num_queries, _ = self.network.latent_shape
        targets = segment_targets(batch, self.sample_rate, num_queries, self.num_classes)
        z_0 = self.network.latents(targets.actions, targets.durations)
        s = torch.randint(len(self.alphas_cumprod), z_0.shape[:1], device=z_0.device)
        z_s = add_noise(z_0, torch.randn_like(z_0), s, self.alphas_cumprod)
        memory = self.network.encode(batch.features, batch.observed)
        estimate = self.network(z_s, s, memory)
        losses = segment_losses(self.network.read(estimate, memory), targets)
        return losses | {"train/latents": F.mse_loss(estimate, z_0)}

    @torch.no_grad()
    def forecast(self, batch: DenseBatch) -> DenseForecast:
        """Sample futures; each depends on (seed, video, ratio, sample), never on its batch."""
        memory = self.network.encode(batch.features, batch.observed)
        z_0 = sample_latents(
            lambda z_s, s: self.network(z_s, s, memory),
            self._noise(batch).to(memory.tokens),
            self.timesteps,
            self.alphas_cumprod,
            self.renoise,
        )
        output = self.network.read(z_0, memory)
        futures = [
            rearrange(
                answers, "(videos samples) ... -> samples videos ...", videos=len(memory.seen)
            )
            for answers in (output.actions, output.durations)
        ]
        released = self.decoding == "released"
        return DenseForecast(
            torch.stack(
                [
                    segment_labels(
                        output._replace(actions=actions, durations=durations),
                        batch,
                        self.sample_rate,
                        released,
                    )
                    for actions, durations in zip(*futures, strict=True)
                ]
            )
        )

    def _noise(self, batch: DenseBatch) -> Tensor:
        """Return the noise of all steps: (steps, videos * samples, queries, hidden)."""
        steps, (num_queries, hidden_dim) = len(self.timesteps), self.network.latent_shape
        seeds = forecast_seeds(self.seed, batch)
        if self.deterministic:
            return torch.zeros(steps, len(seeds), num_queries, hidden_dim)
        slots = [steps * num_queries] * len(seeds)
        noise = initial_noise(seeds, slots, self.num_samples, hidden_dim)
        return rearrange(
            noise, "samples videos (steps q) h -> steps (videos samples) q h", steps=steps
        )
