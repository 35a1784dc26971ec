"""Reverse diffusion: many futures of many videos as one batch (MixANT Eq. 13)."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from anticipate.console import notice
from anticipate.diffusion.objective import add_noise, noise_in
from anticipate.errors import ConfigError

Labels = Float[Tensor, "batch tokens classes"]

Denoise = Callable[[Labels, Int[Tensor, " batch"], Labels | None], Labels]
"""Maps (x_t, t, previous estimate of x_0 or None) to an estimate of x_0."""

Latents = Float[Tensor, "rows slots hidden"]

Renoise = Literal["forward", "ddim"]


def sample(denoise: Denoise, x_T: Labels, scheduler: Any) -> Labels:
    """Run the scheduler from pure noise to x_0; each estimate of x_0 conditions the next.

    Args:
        denoise: The network.
        x_T: Initial noise, one row per future: the only source of randomness.
        scheduler: A fresh scheduler of `make_scheduler` (multistep solvers keep a history).
    """
    x_t, x_0 = x_T * scheduler.init_noise_sigma, None
    for t in scheduler.timesteps:
        steps = torch.full((len(x_t),), int(t), device=x_t.device)
        x_0 = denoise(x_t, steps, x_0)
        x_t = scheduler.step(x_0, t, x_t).prev_sample
    return x_t


def sample_latents(
    estimate: Callable[[Latents, Int[Tensor, " rows"]], Latents],
    noise: Float[Tensor, "steps rows slots hidden"],
    timesteps: Int[Tensor, " steps"],
    alphas_cumprod: Float[Tensor, " t"],
    renoise: Renoise = "forward",
) -> Latents:
    """Estimate z_0 from pure noise, add noise to the estimate, and so on; return the last estimate.

    Args:
        estimate: The network: maps (z_s, s) to an estimate of z_0.
        noise: Where each future starts, then the noise of every further step: the only source of
            randomness.
        timesteps: Steps s to visit, falling.
        alphas_cumprod: Products of alpha up to each training step.
        renoise: `forward` adds fresh noise, as the forward process does (DiffAnt); `ddim` adds the
            noise that z_s holds if the estimate is right, so that the start alone is random.
    """
    steps = timesteps.to(noise.device).unsqueeze(1).expand(noise.shape[:2])
    z_s = noise[0]
    z_0 = estimate(z_s, steps[0])
    for fresh, before, s in zip(noise[1:], steps[:-1], steps[1:], strict=True):
        added = fresh if renoise == "forward" else noise_in(z_s, z_0, before, alphas_cumprod)
        z_s = add_noise(z_0, added, s, alphas_cumprod)
        z_0 = estimate(z_s, s)
    return z_0


def in_parts(
    work: Callable[[slice], Shaped[Tensor, "part ..."]], rows: int, at_once: int
) -> tuple[Shaped[Tensor, "rows ..."], int]:
    """Do some work on a part of the rows at a time; halve the parts where memory does not suffice.

    Args:
        work: What to do with some rows.
        rows: How many there are.
        at_once: How many to begin with.

    Returns:
        The results of all rows, and how many rows at once were possible.

    Raises:
        ConfigError: The memory of the device does not suffice for a single row.
    """
    done: list[Tensor] = []
    first = 0
    while first < rows:
        part = _attempt(work, slice(first, min(first + at_once, rows)))
        if part is not None:
            done.append(part)
            first += at_once
        elif at_once == 1:
            raise ConfigError(
                "not enough GPU memory to sample one future: use fewer tokens "
                "(data.init_args.sample_rate), a smaller network or another device"
            )
        else:
            at_once = min(at_once, rows) // 2
            notice(f"not enough GPU memory: {at_once} futures are sampled at once from now on")
    return torch.cat(done), at_once


def _attempt(work: Callable[[slice], Tensor], part: slice) -> Tensor | None:
    """Return the result, or None when memory did not suffice, by then free again."""
    try:
        return work(part)
    except torch.OutOfMemoryError:
        pass
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def initial_noise(
    seeds: Sequence[int], num_tokens: Sequence[int], num_samples: int, num_classes: int
) -> Float[Tensor, "samples videos tokens classes"]:
    """Return the initial noise of each video's samples, drawn from its own seed; zero on padding.

    Drawn on the CPU, one sample after the other: a video's futures depend neither on its batch nor
    on the device, and its first n samples not on how many follow.

    Args:
        seeds: One seed per video.
        num_tokens: Observed and future tokens of each video.
        num_samples: Futures per video.
        num_classes: Width of the noise.
    """
    noise = torch.zeros(num_samples, len(seeds), max(num_tokens), num_classes)
    for video, (seed, tokens) in enumerate(zip(seeds, num_tokens, strict=True)):
        generator = torch.Generator().manual_seed(seed)
        for index in range(num_samples):
            noise[index, video, :tokens] = torch.randn(tokens, num_classes, generator=generator)
    return noise
