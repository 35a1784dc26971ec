"""GTDA against its authors' network in plain convolutions: sizes, outputs, gradients, samples."""

import math
import re

import pytest
import torch
import torch.nn.functional as F

from anticipate.diffusion.objective import reconstruction_loss
from anticipate.diffusion.sampling import sample
from anticipate.diffusion.schedule import make_scheduler
from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn import (
    GTDA,
    DenoiserOutput,
    DeterministicGTDA,
    gtda_deterministic_from_reference,
    gtda_from_reference,
)

CLASSES, FEATURES, WIDTH, STAGES, LAYERS = 5, 7, 8, 3, 3
SIZES = {"d_model": WIDTH, "num_stages": STAGES, "num_layers": LAYERS}
TOKENS, OBSERVED = (9, 12), (4, 6)
"""Valid and observed tokens of two videos; there are 12 tokens and features of 8."""


def made_up_weights(timed=True, gated=True, refine=True, taps=3, stages=STAGES, layers=LAYERS):
    """A state dict with the authors' names below `ms_tcn.`."""
    generator, d, weights = torch.Generator().manual_seed(0), WIDTH, {}

    def add(name, *shape):
        std = (1 / math.prod(shape[1:])) ** 0.5
        for kind, size in (("weight", shape), ("bias", shape[:1])):
            weights[f"{name}.{kind}"] = (std * torch.randn(size, generator=generator)).double()

    width = FEATURES + (2 * CLASSES if timed else 0)
    for number in range(stages):
        stage = f"stages.{number - 1}" if number else "stage1"
        later = CLASSES + (width if refine else 0)
        add(f"{stage}.conv_1x1", d, later if number else width, 1)
        if timed:
            add(f"{stage}.time_mlp.1", 4 * d, d)
            add(f"{stage}.time_mlp.3", 4 * d, 4 * d)
        for layer in (f"{stage}.layers.{i}" for i in range(layers)):
            add(f"{layer}.conv_dilated", d, d, taps)
            if gated:
                add(f"{layer}.gate_conv_dilated", d, d, taps)
            add(f"{layer}.conv_1x1", d, d, 1)
            if timed:
                add(f"{layer}.time_mlp.1", 2 * d, 4 * d)
        add(f"{stage}.conv_out", CLASSES, d, 1)
    return weights


def reference_layer(weights, name, x, mask, embedding, dilation):
    def conv(part, x, **how):
        return F.conv1d(x, weights[f"{name}.{part}.weight"], weights[f"{name}.{part}.bias"], **how)

    gated = f"{name}.gate_conv_dilated.weight" in weights
    how = {"dilation": dilation, "padding": weights[f"{name}.conv_dilated.weight"].shape[2] // 2}
    how["padding"] *= dilation
    a = conv("conv_dilated", x, **how)
    h = a * torch.sigmoid(conv("gate_conv_dilated", x, **how)) if gated else torch.relu(a)
    h = conv("conv_1x1", h)
    h = torch.relu(h) if gated else h
    if embedding is not None:
        weight, bias = weights[f"{name}.time_mlp.1.weight"], weights[f"{name}.time_mlp.1.bias"]
        modulation = (embedding * torch.sigmoid(embedding)) @ weight.T + bias
        h = h * (1 + modulation[:, :WIDTH, None]) + modulation[:, WIDTH:, None]
    return (x + h) * mask


def reference_time(weights, stage, t):
    half = WIDTH // 2  # in float32, as there and here
    angles = t[:, None].float() * torch.exp(-math.log(10_000) * (torch.arange(half) / (half - 1)))
    h = torch.cat([angles.sin(), angles.cos()], dim=1).to(weights[f"{stage}.time_mlp.1.bias"])
    h = h @ weights[f"{stage}.time_mlp.1.weight"].T + weights[f"{stage}.time_mlp.1.bias"]
    h = h * 0.5 * (1 + torch.erf(h / 2**0.5))
    return h @ weights[f"{stage}.time_mlp.3.weight"].T + weights[f"{stage}.time_mlp.3.bias"]


def reference_stages(weights, features, observed, valid, x_t=None, t=None, self_cond=None):
    """The authors' network, channels first: convolutions of all inputs, joined at every stage."""
    mask = valid[:, None].to(features.dtype)
    obs = F.pad(features, (0, 0, 0, valid.shape[1] - features.shape[1])) * observed[..., None]
    joined = obs if x_t is None else torch.cat([x_t, obs, self_cond], dim=2)
    first = x = joined.transpose(1, 2)
    refine = weights.get("stages.0.conv_1x1.weight", first.new_zeros(0, 0)).shape[1] != CLASSES
    estimates = []
    names = [name.removesuffix(".conv_out.bias") for name in weights if "conv_out.bias" in name]
    for stage in names:
        if estimates:
            probs = estimates[-1].softmax(dim=1) * mask
            x = torch.cat([probs, first], dim=1) if refine else probs
        h = F.conv1d(x, weights[f"{stage}.conv_1x1.weight"], weights[f"{stage}.conv_1x1.bias"])
        h = h * mask
        embedding = None if t is None else reference_time(weights, stage, t)
        layers = {name.split(".layers.")[1][0] for name in weights if f"{stage}.layers." in name}
        for i in range(len(layers)):
            h = reference_layer(weights, f"{stage}.layers.{i}", h, mask, embedding, 2**i)
        h = F.conv1d(h, weights[f"{stage}.conv_out.weight"], weights[f"{stage}.conv_out.bias"])
        estimates.append(h * mask)
    return torch.stack(estimates).transpose(2, 3)


def prefixed(weights, prefix="ms_tcn."):
    return {prefix + name: tensor for name, tensor in weights.items()}


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def inputs(dtype=torch.float64):
    """Two videos with noise in the padding of everything but the features."""
    generator = torch.Generator().manual_seed(1)
    lengths, seen = torch.tensor(TOKENS), torch.tensor(OBSERVED)
    tokens = torch.arange(12)
    x_t, self_cond = torch.randn(2, 2, 12, CLASSES, generator=generator, dtype=dtype)
    features = torch.randn(2, 8, FEATURES, generator=generator, dtype=dtype)
    return {
        "features": features,
        "observed": tokens < seen[:, None],
        "valid": tokens < lengths[:, None],
        "x_t": x_t,
        "t": torch.tensor([3, 980]),
        "self_cond": self_cond,
    }


def stages(network, features, observed, valid, x_t, t, self_cond=None):
    condition = network.encode(features, observed)
    return network(x_t, t, condition, observed, valid, self_cond).stages


def logits(network, given):
    return network(given["features"], given["observed"], given["valid"])


def stochastic(**variant):
    return gtda_from_reference(prefixed(made_up_weights(**variant))).double().eval()


def deterministic(**variant):
    weights = made_up_weights(timed=False, **variant)
    return gtda_deterministic_from_reference(prefixed(weights)).double().eval()


# Counted in the authors' networks at width 64, features of 2048, for C = 48, 19, 202.
COUNTS = [
    (GTDA, {}, (3_905_648, 3_870_239, 4_093_682)),
    (GTDA, {"refine_with_features": False}, (3_356_784, 3_336_223, 3_465_970)),
    (GTDA, {"gated": False}, (3_349_808, 3_314_399, 3_537_842)),
    (DeterministicGTDA, {}, (1_982_448, 1_965_599, 2_071_922)),
    (DeterministicGTDA, {"gated": False}, (1_426_608, 1_409_759, 1_516_082)),
]


@pytest.mark.parametrize(("network", "variant", "expected"), COUNTS)
def test_parameter_counts(network, variant, expected):
    with torch.device("meta"):
        found = [count(network(classes, 2048, **variant)) for classes in (48, 19, 202)]
    assert tuple(found) == expected


VARIANTS = [{}, {"gated": False}, {"refine": False}, {"taps": 5}, {"stages": 1}]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
def test_stages_equal_the_reference(variant, dtype, tolerance):
    given = inputs(dtype)
    weights = {name: tensor.to(dtype) for name, tensor in made_up_weights(**variant).items()}
    found = stages(gtda_from_reference(prefixed(weights)).to(dtype), **given)
    expected = reference_stages(weights, **given)
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    weights = {n: w.to(dtype) for n, w in made_up_weights(timed=False, **variant).items()}
    network = gtda_deterministic_from_reference(prefixed(weights)).to(dtype).eval()
    given = {key: given[key] for key in ("features", "observed", "valid")}
    expected = reference_stages(weights, **given)
    torch.testing.assert_close(network(**given), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("reduction", ["mean", "released"])
def test_loss_and_gradients_equal_the_reference(reduction):
    weights, given = made_up_weights(), inputs()
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in weights.items()}
    x_0 = F.one_hot(torch.arange(24).view(2, 12) % CLASSES).double() * given["valid"][..., None]
    squared = (reference_stages(leaves, **given) - x_0).square() * given["valid"][..., None]
    expected = squared.sum() / given["valid"].sum()
    if reduction == "released":
        expected = squared.mean(dim=(2, 3)).sum()
    expected.backward()
    network = stochastic()
    loss = sum(
        reconstruction_loss(x_0, stage, given["valid"], reduction)
        for stage in stages(network, **given)
    )
    loss.backward()
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    # The loader only orders tensors: it orders gradients in the same way.
    ordered = gtda_from_reference(prefixed({n: leaf.grad for n, leaf in leaves.items()})).double()
    for mine, theirs in zip(network.parameters(), ordered.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs, rtol=1e-6, atol=1e-8)  # through float32


def test_ddim_samples_equal_the_reference():
    weights, given, num_steps = made_up_weights(), inputs(), 5
    network, x_T = stochastic(), given.pop("x_t")
    condition = network.encode(given["features"], given["observed"])
    seen = []

    def denoise(x_t, t, previous):
        seen.append(int(t[0]))
        return network(x_t, t, condition, given["observed"], given["valid"], previous).x_0

    found = sample(denoise, x_T, make_scheduler("ddim", 1000, num_steps))
    times = torch.arange(1001, dtype=torch.float64) / 1000
    curve = torch.cos((times + 0.008) / 1.008 * math.pi / 2).square()
    alpha_bar = torch.cumprod(1 - (1 - curve[1:] / curve[:-1]).clamp(max=0.999), dim=0)
    x_t, x_0 = x_T, torch.zeros_like(x_T)
    for t in range(1000 - 1000 // num_steps, -1, -1000 // num_steps):
        masks = {key: given[key] for key in ("features", "observed", "valid")}
        steps = torch.full((2,), t)
        x_0 = reference_stages(weights, **masks, x_t=x_t, t=steps, self_cond=x_0)[-1]
        noise = (x_t / alpha_bar[t].sqrt() - x_0) / (1 / alpha_bar[t] - 1).sqrt()
        noise = noise * given["valid"][..., None]
        after = alpha_bar[t - 1000 // num_steps] if t else torch.tensor(1.0)
        x_t = after.sqrt() * x_0 + (1 - after).sqrt() * noise
    assert seen == [800, 600, 400, 200, 0]
    torch.testing.assert_close(x_t, x_0)  # the last step returns the estimate itself
    valid = given["valid"]
    torch.testing.assert_close(found[valid], x_t[valid], rtol=0, atol=1e-5)


def test_padding_and_batch_change_no_valid_output():
    for run in (lambda g: stages(stochastic(), **g), lambda g: logits(deterministic(), g)):
        given = inputs()
        longer = {
            **given,
            "observed": F.pad(given["observed"], (0, 9)),
            "valid": F.pad(given["valid"], (0, 9)),
            "x_t": F.pad(given["x_t"], (0, 0, 0, 9), value=7.0),
            "self_cond": F.pad(given["self_cond"], (0, 0, 0, 9), value=-3.0),
        }
        both, padded = run(given), run(longer)
        torch.testing.assert_close(padded[:, :, :12], both, rtol=0, atol=1e-12)
        assert not padded[:, ~longer["valid"]].any()
        alone = run({key: value[:1] for key, value in given.items()})
        torch.testing.assert_close(alone, both[:, :1], rtol=0, atol=1e-12)


def test_only_observed_features_matter():
    for run in (lambda g: stages(stochastic(), **g), lambda g: logits(deterministic(), g)):
        given = inputs()
        features = given["features"]
        expected = run(given)
        hidden = torch.where(given["observed"][:, :8, None], features, torch.full_like(features, 9))
        assert torch.equal(run({**given, "features": hidden}), expected)
        seen = features + given["observed"][:, :8, None]
        assert not torch.allclose(run({**given, "features": seen}), expected)


def test_no_previous_estimate_is_one_of_zeros():
    given, network = inputs(), stochastic()
    expected = stages(network, **given | {"self_cond": torch.zeros_like(given["x_t"])})
    assert torch.equal(stages(network, **given | {"self_cond": None}), expected)
    assert not torch.allclose(stages(network, **given), expected)


def test_condition_is_as_wide_as_the_stages_that_read_it():
    given = inputs()
    for refine, stages_that_read in ((True, STAGES), (False, 1)):
        condition = stochastic(refine=refine).encode(given["features"], given["observed"])
        assert condition.shape == (2, 12, stages_that_read * WIDTH)
        assert not condition[~given["observed"]].any()


def test_stages_depend_on_those_before_alone():
    given, weights = inputs(), made_up_weights()
    expected = stages(stochastic(), **given)
    changed = weights | {n: 2 * w for n, w in weights.items() if n.startswith("stages.1.")}
    found = stages(gtda_from_reference(prefixed(changed)).double(), **given)
    assert torch.equal(found[:2], expected[:2])
    assert not torch.allclose(found[2], expected[2])
    network = stochastic()
    output = network(
        given["x_t"],
        given["t"],
        network.encode(given["features"], given["observed"]),
        given["observed"],
        given["valid"],
    )
    assert torch.equal(output.stages[-1], output.x_0)
    assert output.gamma.shape == (0, 1, 2, 1)


def test_later_stages_without_features_see_the_softmax_alone():
    given, weights = inputs(), made_up_weights(refine=False)
    weights["stage1.conv_out.weight"].zero_()  # so that the first stage says the same of all inputs
    network = gtda_from_reference(prefixed(weights)).double()
    expected = stages(network, **given)
    other = given | {key: -given[key] for key in ("x_t", "features", "self_cond")}
    assert torch.equal(stages(network, **other), expected)


def one_layer(**weights):
    made_up = made_up_weights(stages=1, layers=1)
    changed = {f"stage1.layers.0.{name}": value for name, value in weights.items()}
    network = gtda_from_reference(
        prefixed({n: changed[n] + 0 * w if n in changed else w for n, w in made_up.items()})
    )
    return network.double().refinement.stages[0].layers[0]


def test_an_open_gate_is_none_and_a_closed_one_leaves_the_bias():
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, WIDTH, 6, generator=generator, dtype=torch.float64)
    time = torch.randn(2, 4 * WIDTH, generator=generator, dtype=torch.float64)
    mask = torch.ones(2, 1, 6, dtype=torch.float64)
    gate = {"gate_conv_dilated.weight": 0.0}
    layer = one_layer(**gate, **{"gate_conv_dilated.bias": 50.0})
    a = layer.conv(x)[:, :WIDTH]
    h = layer.film(torch.relu(layer.proj(a)).transpose(1, 2), time).transpose(1, 2)
    torch.testing.assert_close(layer(x, mask, time), x + h)
    layer = one_layer(**gate, **{"gate_conv_dilated.bias": -50.0})
    bias = torch.relu(layer.proj.bias).expand(2, 6, -1)
    h = layer.film(bias, time).transpose(1, 2)
    torch.testing.assert_close(layer(x, mask, time), x + h)


def test_one_stage_reaches_511_tokens_in_both_directions():
    torch.manual_seed(0)
    network = GTDA(2, 3, d_model=4, num_stages=1).double()
    x_t = torch.randn(1, 1026, 2, dtype=torch.float64, requires_grad=True)
    seen = torch.ones(1, 1026, dtype=torch.bool)
    condition = network.encode(torch.zeros(1, 1, 3).double(), torch.zeros_like(seen))
    output = network(x_t, torch.tensor([5]), condition, torch.zeros_like(seen), seen)
    output.x_0[0, 512].sum().backward()
    reached = x_t.grad[0].abs().sum(dim=-1).nonzero().flatten()
    assert (int(reached.min()), int(reached.max())) == (1, 1023)


def test_stages_start_with_the_laws_of_torch():
    torch.manual_seed(0)
    for stage, width in zip(GTDA(48, 512).refinement.stages, (608, *[656] * 4), strict=True):
        for parameter in stage.in_proj.parameters():
            assert float(parameter.detach().abs().max() * width**0.5) == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 4}, "kernel_size must be odd, so that it has a centre, got 4"),
        ({"num_stages": 0}, "num_stages must be at least 1, got 0"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"d_model": 3}, "d_model must be even and at least 4"),
    ],
)
@pytest.mark.parametrize("network", [GTDA, DeterministicGTDA])
def test_impossible_sizes_are_refused(network, settings, message):
    with pytest.raises(ConfigError, match=message):
        network(5, 7, **settings)


def test_dropout_acts_in_training_alone():
    given = inputs(torch.float32)
    network = DeterministicGTDA(CLASSES, FEATURES, **SIZES)
    torch.manual_seed(0)
    assert not torch.equal(logits(network, given), logits(network, given))
    network.eval()
    assert torch.equal(logits(network, given), logits(network, given))
    network = GTDA(CLASSES, FEATURES, **SIZES)
    assert torch.equal(stages(network, **given), stages(network, **given))


def test_channels_are_dropped_whole():
    given, network = inputs(torch.float32), DeterministicGTDA(CLASSES, FEATURES, **SIZES)
    encode, kept = network.refinement.encode, []
    network.refinement.encode = lambda features, seen: (
        kept.append(features) or encode(features, seen)
    )
    torch.manual_seed(0)
    logits(network, given)
    dropped = kept[0] == 0
    assert torch.equal(dropped.all(dim=1), dropped.any(dim=1))
    assert 0 < dropped.sum() < dropped.numel()


def test_a_denoiser_without_stages_has_one():
    x_0, gamma = torch.randn(2, 3, 4), torch.zeros(0, 1, 2, 1)
    output = DenoiserOutput(x_0, gamma)
    assert output.stages.shape == (1, 2, 3, 4)
    assert torch.equal(output.stages[0], x_0)
    assert DenoiserOutput(x_0, gamma, stages=gamma)._fields == ("x_0", "gamma", "stages")


BUFFERS = ("betas", "alphas_cumprod", "posterior_mean_coef2", "sqrt_recipm1_alphas_cumprod")


def in_a_file(weights, form):
    """State dicts as the authors' code saves them."""
    if form == "network":
        return prefixed(weights)
    buffers = dict.fromkeys(BUFFERS, torch.zeros(1000))
    if form == "diffusion":
        return prefixed(weights, "model.ms_tcn.") | buffers
    online = {name: torch.full_like(tensor, 7) for name, tensor in weights.items()}
    return {
        "initted": torch.tensor([True]),
        "step": torch.tensor([3]),
        **prefixed(online, "online_model.model.ms_tcn."),
        **prefixed(buffers, "online_model."),
        **prefixed(weights, "ema_model.model.ms_tcn."),
        **prefixed(buffers, "ema_model."),
    }


@pytest.mark.parametrize("form", ["network", "diffusion", "average"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_weights_are_read_in_every_form(form, variant):
    weights, given = made_up_weights(**variant), inputs()
    network = gtda_from_reference(in_a_file(weights, form)).double()
    expected = reference_stages(weights, **given)
    torch.testing.assert_close(stages(network, **given), expected, rtol=0, atol=1e-5)
    assert count(network) == sum(tensor.numel() for tensor in weights.values())


@pytest.mark.parametrize("variant", VARIANTS)
def test_without_self_conditioning_its_columns_are_dropped(variant):
    weights, given = made_up_weights(**variant), inputs()
    network = gtda_from_reference(prefixed(weights), self_conditioning=False).double()
    given["self_cond"] = torch.zeros_like(given["x_t"])
    expected = reference_stages(weights, **given)
    torch.testing.assert_close(stages(network, **given), expected, rtol=0, atol=1e-5)
    full = 1 if "refine" in variant else variant.get("stages", STAGES)
    theirs = sum(tensor.numel() for tensor in weights.values())
    assert count(network) == theirs - full * CLASSES * WIDTH


LOADERS = {True: gtda_from_reference, False: gtda_deterministic_from_reference}


@pytest.mark.parametrize("timed", LOADERS)
def test_every_wrong_tensor_is_named(timed):
    weights = prefixed(made_up_weights(timed=timed, layers=1), "model.ms_tcn.")
    load = LOADERS[timed]
    for name, tensor in weights.items():
        rest = {other: value for other, value in weights.items() if other != name}
        with pytest.raises(CheckpointError, match=f"'{re.escape(name)}' is missing"):
            load(rest)
        with pytest.raises(CheckpointError, match=rf"'{re.escape(name)}' is \(\d+.*, expected"):
            load({**rest, name: torch.cat([tensor, tensor])})
        with pytest.raises(CheckpointError, match=rf"'{re.escape(name)}' is \(\d+.*, expected"):
            load({**rest, name: torch.stack([tensor, tensor], dim=-1)})
        extra = name.replace("weight", "weights").replace("bias", "biases")
        with pytest.raises(CheckpointError, match=f"unknown tensor '{re.escape(extra)}'"):
            load({**weights, extra: tensor})


@pytest.mark.parametrize("timed", LOADERS)
def test_weights_of_the_other_variant_are_refused(timed):
    weights, other = made_up_weights(timed=timed), LOADERS[timed].__name__
    with pytest.raises(CheckpointError, match=f"GTDA, .*: use {other}$"):
        LOADERS[not timed](prefixed(weights))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([1], "found list without a tensor 'ms_tcn.*', expected the state dict of a GTDA"),
        ({}, "found dict without a tensor 'ms_tcn.*'"),
        ({"ms_tcn.stage1.conv_out.weight": 3}, "unknown tensor 'ms_tcn.stage1.conv_out.weight'"),
        ({"ms_tcn.a.weight": torch.ones(3)}, "'ms_tcn.stage1.conv_out.weight' is missing"),
    ],
)
def test_what_is_no_state_dict_is_refused(wrong, message):
    with pytest.raises(CheckpointError, match=re.escape(message)):
        gtda_from_reference(wrong)
