"""Noise schedule and solvers.

The field's code (GTDA, MANTA) uses the cosine schedule of Nichol and Dhariwal (s = 0.008, betas
capped at 0.999), a network that predicts x_0, DDIM with eta = 0 without clipping, and the steps 0,
c, 2c .. with c = T // n. With few steps that starts far from pure noise: at n = 10 the first
step is 900, where training shows the network labels of amplitude 0.15 and sampling shows it none.
`trailing` steps start at T - 1 instead (Lin et al., Common Diffusion Noise Schedules and Sample
Steps are Flawed, WACV 2024, Sec. 3.3).

DDIM is here, with the numbers of diffusers; the other solvers are those of diffusers, imported when
they are used, with every argument explicit.
"""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from anticipate.errors import ConfigError

Sampler = Literal["ddim", "dpmsolver++", "unipc"]
Spacing = Literal["leading", "trailing"]
Noise = Literal["cosine", "sqrt"]


def cosine_alphas_cumprod(num_train_timesteps: int) -> Float[Tensor, " t"]:
    """Return the products of alpha up to each training step."""

    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    times = [step / num_train_timesteps for step in range(num_train_timesteps + 1)]
    ratios = (alpha_bar(after) / alpha_bar(before) for before, after in pairwise(times))
    betas = [min(1 - ratio, 0.999) for ratio in ratios]
    return torch.cumprod(1.0 - torch.tensor(betas, dtype=torch.float32), dim=0)


def sqrt_alphas_cumprod(num_train_timesteps: int) -> Float[Tensor, " t"]:
    """Return 1 - sqrt(s / S + 1e-4), common where text is diffused in a latent space.

    From Diffusion-LM (Li et al., NeurIPS 2022): noise comes early, as a little of it leaves the
    nearest embedding of a latent as it is.
    """
    return 1 - (torch.arange(num_train_timesteps) / num_train_timesteps + 1e-4).sqrt()


ALPHAS_CUMPROD: dict[Noise, Callable[[int], Tensor]] = {
    "cosine": cosine_alphas_cumprod,
    "sqrt": sqrt_alphas_cumprod,
}
"""Products of alpha up to each training step, by the name of the schedule."""


class Step(NamedTuple):
    """What a solver returns; diffusers' own have more."""

    prev_sample: Tensor


class DDIM:
    """Denoising diffusion implicit models (Song et al., ICLR 2021, Eq. 12), with sigma = 0.

    Args:
        num_train_timesteps: Steps T of the training schedule.
        num_inference_steps: Steps taken when sampling.
        timestep_spacing: Which ones.
    """

    init_noise_sigma = 1.0

    def __init__(
        self, num_train_timesteps: int, num_inference_steps: int, timestep_spacing: Spacing
    ) -> None:
        self.stride = num_train_timesteps // num_inference_steps
        steps = np.arange(num_inference_steps)[::-1] * self.stride
        if timestep_spacing == "trailing":
            stride = num_train_timesteps / num_inference_steps
            steps = np.round(np.arange(num_train_timesteps, 0, -stride)).astype(np.int64) - 1
        self.timesteps = torch.from_numpy(steps.copy())
        self.alphas_cumprod = cosine_alphas_cumprod(num_train_timesteps)

    def step(
        self,
        x_0: Float[Tensor, "batch tokens classes"],
        t: Tensor,
        x_t: Float[Tensor, "batch tokens classes"],
    ) -> Step:
        """Return the labels of the step before `t`.

        Args:
            x_0: Estimate of the clean labels.
            t: Step of the noisy labels.
            x_t: Noisy labels.
        """
        before = int(t) - self.stride
        alpha = self.alphas_cumprod[int(t)]
        alpha_before = self.alphas_cumprod[before] if before >= 0 else torch.tensor(1.0)
        noise = (x_t - alpha**0.5 * x_0) / (1 - alpha) ** 0.5
        return Step(alpha_before**0.5 * x_0 + (1 - alpha_before) ** 0.5 * noise)


def _of_diffusers(
    name: str,
    own: dict[str, Any],
    num_train_timesteps: int,
    num_inference_steps: int,
    timestep_spacing: Spacing,
) -> Any:
    scheduler = getattr(import_module("diffusers"), name)(
        num_train_timesteps=num_train_timesteps,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing=timestep_spacing,
        steps_offset=0,
        solver_order=2,
        lower_order_final=True,
        final_sigmas_type="zero",
        **own,
    )
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


SOLVERS: dict[Sampler, Callable[[int, int, Spacing], Any]] = {
    "ddim": DDIM,
    "dpmsolver++": partial(
        _of_diffusers, "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++"}
    ),
    "unipc": partial(_of_diffusers, "UniPCMultistepScheduler", {"predict_x0": True}),
}
"""What makes a solver from training steps, inference steps and spacing."""


def make_scheduler(
    sampler: Sampler,
    num_train_timesteps: int,
    num_inference_steps: int,
    timestep_spacing: Spacing = "leading",
) -> Any:
    """Return a fresh solver for one sampling run.

    Args:
        sampler: `ddim` (eta = 0), or the second-order solvers `dpmsolver++` and `unipc`. All are
            deterministic: a future is a function of its initial noise.
        num_train_timesteps: Steps T of the training schedule.
        num_inference_steps: Steps taken when sampling.
        timestep_spacing: `leading` (from c (n - 1) down to 0, as the field does) or `trailing`
            (from T - 1 down to c - 1).

    Raises:
        ConfigError: When there are more inference steps than training steps, or none.
    """
    if not 1 <= num_inference_steps <= num_train_timesteps:
        raise ConfigError(
            "num_inference_steps must lie between 1 and num_train_timesteps "
            f"({num_train_timesteps}), got {num_inference_steps}"
        )
    return SOLVERS[sampler](num_train_timesteps, num_inference_steps, timestep_spacing)
