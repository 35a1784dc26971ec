"""Noise schedule, objective and solvers against closed forms."""

import math

import diffusers
import pytest
import torch

from anticipate.diffusion.objective import add_noise, noise_in, one_hot, reconstruction_loss
from anticipate.diffusion.sampling import in_parts, initial_noise, sample, sample_latents
from anticipate.diffusion.schedule import (
    ALPHAS_CUMPROD,
    cosine_alphas_cumprod,
    make_scheduler,
    sqrt_alphas_cumprod,
)
from anticipate.errors import ConfigError


def reference_alphas_cumprod(steps=1000, s=0.008):
    """Nichol and Dhariwal's cosine schedule with betas capped at 0.999."""

    def abar(u):
        return math.cos((u + s) / (1 + s) * math.pi / 2) ** 2

    product, products = 1.0, []
    for i in range(steps):
        product *= 1 - min(0.999, 1 - abar((i + 1) / steps) / abar(i / steps))
        products.append(product)
    return products


def test_cosine_schedule_has_the_published_values():
    alphas = cosine_alphas_cumprod(1000)
    torch.testing.assert_close(
        alphas.double(),
        torch.tensor(reference_alphas_cumprod(), dtype=torch.float64),
        rtol=2e-5,
        atol=1e-9,
    )
    for t, expected in {0: 0.99996, 100: 0.9716, 500: 0.4923, 900: 0.02362, 980: 8.77e-4}.items():
        assert math.isclose(alphas[t].item(), expected, rel_tol=1e-3)


@pytest.mark.parametrize(
    ("steps", "expected"), [(50, list(range(980, -1, -20))), (10, list(range(900, -1, -100)))]
)
def test_ddim_visits_the_field_s_steps(steps, expected):
    assert make_scheduler("ddim", 1000, steps).timesteps.tolist() == expected


@pytest.mark.parametrize(
    ("steps", "expected"), [(50, list(range(999, 18, -20))), (10, list(range(999, 98, -100)))]
)
def test_trailing_steps_start_at_pure_noise(steps, expected):
    assert make_scheduler("ddim", 1000, steps, "trailing").timesteps.tolist() == expected
    assert cosine_alphas_cumprod(1000)[999] < 1e-8


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++", "unipc"])
def test_a_gaussian_is_sampled_from_pure_noise(sampler, spacing):
    """Where x_0 ~ N(mean, 1), E[x_0 | x_t] is linear, and x_t ~ N(sqrt(abar) mean, 1) for all t.

    Trailing steps must give x_0 its mean; leading ones start at t = 900 without their share of it.
    """
    mean, alphas = 3.0, cosine_alphas_cumprod(1000).double()

    def denoise(x_t, t, previous):
        scale = alphas[t[0]].sqrt()
        return mean + scale * (x_t - scale * mean)

    x_T = torch.randn(1, 4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x_0 = sample(denoise, x_T, make_scheduler(sampler, 1000, 10, spacing))
    missing = alphas[900].sqrt() * mean if spacing == "leading" else 0.0
    assert abs(x_0.mean().item() - (mean - missing)) < 0.1


@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++", "unipc"])
def test_a_perfect_denoiser_is_recovered(sampler):
    x_0 = torch.nn.functional.one_hot(torch.tensor([[0, 2, 1]]), 3).double()
    result = sample(
        lambda x, t, previous: x_0,
        torch.randn(1, 3, 3, dtype=torch.float64),
        make_scheduler(sampler, 1000, 10),
    )
    torch.testing.assert_close(result, x_0, rtol=0, atol=1e-6)


def test_ddim_equals_its_formula():
    abar = reference_alphas_cumprod()
    x = x_T = torch.randn(2, 4, 3, dtype=torch.float64)

    def denoise(x_t, t, previous):
        return torch.tanh(x_t) * 0.5 + (0 if previous is None else 0.1 * previous)

    x_0 = None
    for t in range(900, -1, -100):
        x_0 = denoise(x, t, x_0)
        noise = (x / math.sqrt(abar[t]) - x_0) / math.sqrt(1 / abar[t] - 1)
        before = abar[t - 100] if t else 1.0
        x = math.sqrt(before) * x_0 + math.sqrt(1 - before) * noise
    torch.testing.assert_close(
        sample(denoise, x_T, make_scheduler("ddim", 1000, 10)), x, rtol=0, atol=1e-4
    )


def test_first_estimate_has_no_self_conditioning_and_later_ones_the_one_before():
    seen = []

    def denoise(x_t, t, previous):
        seen.append(previous)
        return torch.full_like(x_t, float(len(seen)))

    sample(denoise, torch.randn(1, 2, 2), make_scheduler("ddim", 1000, 4))
    assert seen[0] is None
    assert [value.flatten()[0].item() for value in seen[1:]] == [1.0, 2.0, 3.0]


def test_noise_depends_on_the_video_alone():
    alone = initial_noise([7], [5], 3, 4)
    together = initial_noise([1, 7], [9, 5], 5, 4)
    assert torch.equal(together[:3, 1, :5], alone[:, 0])
    assert not together[:, 1, 5:].any()


def test_add_noise_mixes_signal_and_noise_by_the_schedule():
    x_0, noise, t = torch.randn(2, 3, 4), torch.randn(2, 3, 4), torch.tensor([0, 999])
    x_t = add_noise(x_0, noise, t, cosine_alphas_cumprod(1000))
    torch.testing.assert_close(x_t[0], x_0[0], rtol=0, atol=0.05)
    torch.testing.assert_close(x_t[1], noise[1], rtol=0, atol=1e-3)


def test_reconstruction_loss_ignores_padding_and_counts_squared_norms():
    valid = torch.tensor([[True, True, False], [True, False, False]])
    x_0 = one_hot(torch.tensor([[0, 1, -100], [2, -100, -100]]), valid, 3)
    assert x_0.sum().item() == 3
    estimate = torch.where(valid.unsqueeze(-1), torch.zeros(()), torch.full((), 9.0)).expand(
        2, 3, 3
    )
    assert reconstruction_loss(x_0, estimate, valid).item() == 1.0
    assert math.isclose(
        reconstruction_loss(x_0, estimate, valid, "released").item(), 3 / 9, rel_tol=1e-6
    )


@pytest.mark.parametrize("steps", [0, 1001])
def test_impossible_step_counts_are_refused(steps):
    with pytest.raises(
        ConfigError, match="num_inference_steps must lie between 1 and num_train_timesteps"
    ):
        make_scheduler("ddim", 1000, steps)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("steps", [1, 7, 50])
def test_ddim_has_the_numbers_of_diffusers(steps, spacing):
    theirs = diffusers.DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="sample",
        timestep_spacing=spacing,
        steps_offset=0,
        set_alpha_to_one=True,
        clip_sample=False,
    )
    theirs.set_timesteps(steps)
    ours = make_scheduler("ddim", 1000, steps, spacing)
    assert torch.equal(cosine_alphas_cumprod(1000), theirs.alphas_cumprod)
    assert torch.equal(ours.timesteps, theirs.timesteps)
    assert ours.init_noise_sigma == theirs.init_noise_sigma
    x_t, x_0 = torch.randn(2, 2, 3, 4)
    for t in ours.timesteps:
        expected = theirs.step(x_0, t, x_t).prev_sample
        assert torch.equal(ours.step(x_0, t, x_t).prev_sample, expected)
        x_t = expected


def short_of_memory(limit):
    """Work on rows that has room for `limit` of them, and the sizes of the parts it was given."""
    sizes = []

    def work(part):
        sizes.append(part.stop - part.start)
        if sizes[-1] > limit:
            raise torch.OutOfMemoryError
        return torch.arange(part.start, part.stop)

    return work, sizes


@pytest.mark.parametrize(("limit", "expected"), [(99, [7, 3]), (3, [7, 3, 3, 3, 1]), (1, None)])
def test_parts_are_halved_where_memory_does_not_suffice(limit, expected, capsys):
    work, sizes = short_of_memory(limit)
    rows, at_once = in_parts(work, 10, 7)
    assert rows.tolist() == list(range(10))
    assert expected is None or sizes == expected
    assert at_once == {99: 7, 3: 3, 1: 1}[limit]
    assert capsys.readouterr().err.count("not enough GPU memory") == {99: 0, 3: 1, 1: 2}[limit]


def test_memory_for_not_even_one_future_is_an_error_in_one_line():
    work, _ = short_of_memory(0)
    with pytest.raises(ConfigError, match="not enough GPU memory to sample one future: use fewer"):
        in_parts(work, 4, 4)


def test_square_root_schedule_by_hand():
    alphas = sqrt_alphas_cumprod(1000)
    for s, expected in {0: 0.99, 250: 1 - 0.2501**0.5, 999: 1 - 0.9991**0.5}.items():
        assert alphas[s].item() == pytest.approx(expected, rel=1e-4)
    assert (alphas.diff() < 0).all()


@pytest.mark.parametrize("noise", ["cosine", "sqrt"])
@pytest.mark.parametrize("s", [0, 400, 999])
def test_moments_of_noisy_latents(noise, s):
    alphas = ALPHAS_CUMPROD[noise](1000)
    z_0 = torch.tensor([2.0, -1.0]).expand(1, 100_000, 2)
    drawn = torch.randn(z_0.shape, generator=torch.Generator().manual_seed(0))
    z_s = add_noise(z_0, drawn, torch.tensor([s]), alphas)
    mean, variance = alphas[s].sqrt() * z_0[0, 0], (1 - alphas[s]).expand(2)
    torch.testing.assert_close(z_s[0].mean(dim=0), mean, rtol=0, atol=0.015)
    torch.testing.assert_close(z_s[0].var(dim=0), variance, rtol=0.02, atol=0)
    found = noise_in(z_s, z_0, torch.tensor([s]), alphas)
    torch.testing.assert_close(found, drawn, rtol=0, atol=2e-3)


def latent_noise(steps):
    draw = {"generator": torch.Generator().manual_seed(0), "dtype": torch.float64}
    return torch.randn(steps, 3, 4, 8, **draw)


@pytest.mark.parametrize("steps", [1, 10])
@pytest.mark.parametrize("renoise", ["forward", "ddim"])
def test_an_exact_estimate_is_returned_whatever_is_added(steps, renoise):
    z_0 = torch.randn(3, 4, 8, dtype=torch.float64)
    timesteps = make_scheduler("ddim", 1000, steps, "trailing").timesteps
    alphas, seen = cosine_alphas_cumprod(1000), []

    def estimate(z_s, s):
        seen.append((z_s, s))
        return z_0

    result = sample_latents(estimate, latent_noise(steps), timesteps, alphas, renoise)
    assert torch.equal(result, z_0)
    assert [s.tolist() for _, s in seen] == [[s] * 3 for s in range(999, -1, -1000 // steps)]
    number = 0 if renoise == "ddim" else steps - 1  # the start's noise stays, or fresh noise comes
    last, s = seen[-1]
    found = noise_in(last, z_0, s, alphas)  # the start has no share of z_0, but sqrt(abar) = 5e-5
    torch.testing.assert_close(found, latent_noise(steps)[number], rtol=0, atol=1e-3)


def test_ddim_on_latents_is_that_on_labels():
    scheduler, alphas = make_scheduler("ddim", 1000, 10, "trailing"), cosine_alphas_cumprod(1000)
    weight = torch.randn(8, 8, generator=torch.Generator().manual_seed(1)).double()

    def denoise(z_s, s, previous=None):
        return (z_s @ weight + s[:, None, None] / 1000).tanh()

    noise = latent_noise(10)
    expected = sample(denoise, noise[0], scheduler)
    found = sample_latents(denoise, noise, scheduler.timesteps, alphas, "ddim")
    # That on labels goes one step further, to s = -1, where the estimate is all that is left.
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
