"""Noise schedule and solvers, from diffusers with every argument explicit.

The field's code (GTDA, MANTA) uses the cosine schedule of Nichol and Dhariwal (s = 0.008, betas
capped at 0.999), a network that predicts x_0, DDIM with eta = 0 without clipping, and the steps 0,
c, 2c .. with c = T // n. With few steps that starts far from pure noise: at n = 10 the first
step is 900, where training shows the network labels of amplitude 0.15 and sampling shows it none.
`trailing` steps start at T - 1 instead (Lin et al., Common Diffusion Noise Schedules and Sample
Steps are Flawed, WACV 2024, Sec. 3.3).
"""

from typing import Any, Literal

from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, UniPCMultistepScheduler
from jaxtyping import Float
from torch import Tensor

from anticipate.errors import ConfigError

Sampler = Literal["ddim", "dpmsolver++", "unipc"]
Spacing = Literal["leading", "trailing"]


_SECOND_ORDER = {"solver_order": 2, "lower_order_final": True, "final_sigmas_type": "zero"}

SOLVERS: dict[Sampler, tuple[Any, dict[str, Any]]] = {
    "ddim": (DDIMScheduler, {"set_alpha_to_one": True, "clip_sample": False}),
    "dpmsolver++": (
        DPMSolverMultistepScheduler,
        {"algorithm_type": "dpmsolver++", **_SECOND_ORDER},
    ),
    "unipc": (UniPCMultistepScheduler, {"predict_x0": True, **_SECOND_ORDER}),
}
"""Class of diffusers and its own arguments, by sampler."""


def make_scheduler(
    sampler: Sampler,
    num_train_timesteps: int,
    num_inference_steps: int,
    timestep_spacing: Spacing = "leading",
) -> Any:
    """Return a fresh diffusers scheduler, its timesteps set for one sampling run.

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
    cosine = {"num_train_timesteps": num_train_timesteps, "beta_schedule": "squaredcos_cap_v2"}
    common = {
        **cosine,
        "prediction_type": "sample",
        "timestep_spacing": timestep_spacing,
        "steps_offset": 0,
    }
    solver, options = SOLVERS[sampler]
    scheduler: Any = solver(**common, **options)
    scheduler.set_timesteps(num_inference_steps)
    return scheduler


def cosine_alphas_cumprod(num_train_timesteps: int) -> Float[Tensor, " t"]:
    """Return the products of alpha up to each training step."""
    return make_scheduler("ddim", num_train_timesteps, 1).alphas_cumprod
