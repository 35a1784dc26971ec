"""TeSTra and its variants: sizes, what sees what, and the weights of its authors' code."""

import math

import numpy as np
import pytest
import torch

from anticipate import nn
from anticipate.errors import CheckpointError, ConfigError

WIDTH, FEATURES, CLASSES, VERBS, NOUNS = 16, 6, 7, 3, 4
HEADS, LONG, WORK, RANK = 4, 9, 5, 1
CLASSIFIERS = {"": CLASSES, "_verb": VERBS, "_noun": NOUNS}
CLOSE = {"atol": 1e-5, "rtol": 1e-5, "check_dtype": False}


def layer_shapes(name, cross):
    for attention in ("self_attn", "multihead_attn")[: 1 + cross]:
        yield f"{name}.{attention}.in_proj_weight", (3 * WIDTH, WIDTH)
        yield f"{name}.{attention}.in_proj_bias", (3 * WIDTH,)
        yield f"{name}.{attention}.out_proj.weight", (WIDTH, WIDTH)
        yield f"{name}.{attention}.out_proj.bias", (WIDTH,)
    for linear, shape in (("linear1", (2 * WIDTH, WIDTH)), ("linear2", (WIDTH, 2 * WIDTH))):
        yield f"{name}.{linear}.weight", shape
        yield f"{name}.{linear}.bias", shape[:1]
    for norm in range(2 + cross):
        yield from norm_shapes(f"{name}.norm{norm + 1}")


def norm_shapes(name):
    return [(f"{name}.{part}", (WIDTH,)) for part in ("weight", "bias")]


def decoder_shapes(name, num_layers, cross):
    for number in range(num_layers):
        yield from layer_shapes(f"{name}.layers.{number}", cross)
    yield from norm_shapes(f"{name}.norm")


def long_shapes():
    yield "feature_head_long.input_linear.0.weight", (WIDTH, FEATURES)
    yield "feature_head_long.input_linear.0.bias", (WIDTH,)
    for stage, queries in enumerate((5, 3)):
        yield f"enc_queries.{stage}.weight", (queries, WIDTH)
        yield from decoder_shapes(f"enc_modules.{stage}", stage + 1, cross=True)


def mamba_shapes(num_layers):
    inner = 2 * WIDTH
    for number in range(num_layers):
        mixer = f"mamba_modules.{number}.mixer"
        yield f"mamba_modules.{number}.norm.weight", (WIDTH,)
        yield f"{mixer}.A_log", (inner, 16)
        yield f"{mixer}.D", (inner,)
        yield f"{mixer}.in_proj.weight", (2 * inner, WIDTH)
        yield f"{mixer}.conv1d.weight", (inner, 1, 4)
        yield f"{mixer}.conv1d.bias", (inner,)
        yield f"{mixer}.x_proj.weight", (RANK + 32, inner)
        yield f"{mixer}.dt_proj.weight", (inner, RANK)
        yield f"{mixer}.dt_proj.bias", (inner,)
        yield f"{mixer}.out_proj.weight", (WIDTH, inner)
    yield "norm_f.weight", (WIDTH,)


def released(kind, num_layers=2):
    """Random tensors under the names and in the shapes of the authors' code."""
    shapes = {
        "feature_head_work.input_linear.0.weight": (WIDTH, FEATURES),
        "feature_head_work.input_linear.0.bias": (WIDTH,),
        "dec_query.weight": (2, WIDTH),
        "pos_encoding.pe": (1, 1, WIDTH),
        **{f"classifier{k}.weight": (number + 1, WIDTH) for k, number in CLASSIFIERS.items()},
        **{f"classifier{k}.bias": (number + 1,) for k, number in CLASSIFIERS.items()},
        **dict(long_shapes() if kind == "long" else ()),
        **dict(
            mamba_shapes(num_layers)
            if kind == "mamba"
            else decoder_shapes("dec_modules", num_layers, cross=kind == "long")
        ),
    }
    random = np.random.default_rng(0)
    draws = {name: 0.4 * random.normal(size=shape) for name, shape in shapes.items()}
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in draws.items()}


class Reference:
    """The equations of the spec in float64, one window and one head at a time."""

    def __init__(self, state, decay=1.0, work_in_memory=True):
        self.w = {name: tensor.double().numpy() for name, tensor in state.items()}
        self.decay, self.work_in_memory = decay, work_in_memory

    def count(self, name):
        return len({key.split(".")[name.count(".") + 1] for key in self.w if key.startswith(name)})

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def norm(self, x, name):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def rms(self, x, name):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * self.w[f"{name}.weight"]

    def attention(self, x, memory, name, added):
        w, b = self.w[f"{name}.in_proj_weight"], self.w[f"{name}.in_proj_bias"]
        (wq, wk, wv), (bq, bk, bv) = np.split(w, 3), np.split(b, 3)
        parts = x @ wq.T + bq, memory @ wk.T + bk, memory @ wv.T + bv
        heads = []
        for q, k, v in zip(*(np.split(part, HEADS, axis=-1) for part in parts), strict=True):
            scores = q @ k.T / math.sqrt(q.shape[-1]) + added
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ v)
        return self.linear(np.concatenate(heads, axis=-1), f"{name}.out_proj")

    def layers(self, x, name, mask, memory=None, memory_mask=None):
        for k in range(self.count(f"{name}.layers")):
            layer = f"{name}.layers.{k}"
            x = self.norm(x + self.attention(x, x, f"{layer}.self_attn", mask), f"{layer}.norm1")
            last = 2
            if memory is not None:
                found = self.attention(x, memory, f"{layer}.multihead_attn", memory_mask)
                x, last = self.norm(x + found, f"{layer}.norm2"), 3
            hidden = np.maximum(self.linear(x, f"{layer}.linear1"), 0)
            x = self.norm(x + self.linear(hidden, f"{layer}.linear2"), f"{layer}.norm{last}")
        return self.norm(x, f"{name}.norm")

    def long(self, features, padding):
        tokens = np.maximum(self.linear(features, "feature_head_long.input_linear.0"), 0)
        kernel = np.log(self.decay ** np.arange(len(tokens) - 1, -1, -1.0) + 1e-10)
        kernel = np.where(padding, -np.inf, kernel if self.decay != 1 else 0)
        first, second = (self.w[f"enc_queries.{k}.weight"] for k in range(2))
        compressed = self.layers(first, "enc_modules.0", 0, tokens, kernel)
        return self.layers(second, "enc_modules.1", 0, compressed, 0)

    def mamba(self, x):
        for k in range(self.count("mamba_modules")):
            name = f"mamba_modules.{k}.mixer"
            inner, z = np.split(
                self.rms(x, f"mamba_modules.{k}.norm") @ self.w[f"{name}.in_proj.weight"].T, 2, -1
            )
            taps = self.w[f"{name}.conv1d.weight"][:, 0]
            padded = np.concatenate([np.zeros((3, inner.shape[1])), inner])
            u = sum(padded[j : j + len(x)] * taps[:, j] for j in range(4))
            u = silu(u + self.w[f"{name}.conv1d.bias"])
            dt, B, C = np.split(u @ self.w[f"{name}.x_proj.weight"].T, [RANK, RANK + 16], -1)
            dt = dt @ self.w[f"{name}.dt_proj.weight"].T + self.w[f"{name}.dt_proj.bias"]
            dt, A = np.log1p(np.exp(dt)), -np.exp(self.w[f"{name}.A_log"])
            state, y = np.zeros_like(A), []
            for step in range(len(x)):
                state = np.exp(dt[step][:, None] * A) * state
                state = state + (dt[step] * u[step])[:, None] * B[step]
                y.append(state @ C[step] + self.w[f"{name}.D"] * u[step])
            x = x + (np.stack(y) * silu(z)) @ self.w[f"{name}.out_proj.weight"].T
        return self.rms(x, "norm_f")

    def __call__(self, features, padding=None):
        long, work = features[:-WORK], features[-WORK:]
        tokens = np.maximum(self.linear(work, "feature_head_work.input_linear.0"), 0)
        tokens = np.concatenate([tokens, self.w["dec_query.weight"]])
        channel = np.arange(WIDTH)
        angles = np.arange(len(tokens))[:, None] / 10_000 ** (channel // 2 * 2 / WIDTH)
        tokens = tokens + np.where(channel % 2, np.cos(angles), np.sin(angles))
        causal = np.triu(np.full((len(tokens), len(tokens)), -np.inf), 1)
        if len(long):
            memory = self.long(long, padding)
            mask = np.zeros((len(tokens), len(memory)))
            if self.work_in_memory:
                memory, mask = np.concatenate([memory, tokens]), np.hstack([mask, causal])
            x = self.layers(tokens, "dec_modules", causal, memory, mask)
        elif "norm_f.weight" in self.w:
            x = self.mamba(tokens)
        else:
            x = self.layers(tokens, "dec_modules", causal)
        return [self.linear(x, f"classifier{name}") for name in ("", "_verb", "_noun")]


def silu(x):
    return x / (1 + np.exp(-x))


def windows(long=0, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, long + WORK, FEATURES, generator=generator)


CASES = [
    ("attention", {"long_steps": 0}),
    ("mamba", {"long_steps": 0}),
    ("long", {"long_steps": LONG}),
    ("long", {"long_steps": LONG, "decay": 0.9}),
    ("long", {"long_steps": LONG, "decay": 0.9, "work_in_memory": False}),
]


@pytest.mark.parametrize(("kind", "settings"), CASES)
def test_outputs_are_those_of_the_authors_weights(kind, settings):
    state, x = released(kind), windows(settings["long_steps"])
    wrapped = {"model_state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 1}
    network = nn.testra_from_reference(wrapped, num_heads=HEADS, **settings)
    assert network.training
    padding = None
    if kind == "long":
        padding = torch.zeros(len(x), LONG, dtype=torch.bool)
        padding[1, :4], padding[2, :-1] = True, True
    found = network.eval()(x, padding)
    plain = Reference(state, **{k: v for k, v in settings.items() if k != "long_steps"})
    for row in range(len(x)):
        hidden = None if padding is None else padding[row].numpy()
        for ours, theirs in zip(found, plain(x[row].double().numpy(), hidden), strict=False):
            torch.testing.assert_close(ours[row], torch.from_numpy(theirs), **CLOSE)


def make(block="attention", **settings):
    torch.manual_seed(0)
    sizes = {"hidden_dim": WIDTH, "num_heads": HEADS, "num_experts": 3, "num_layers": 2}
    return nn.TeSTra(CLASSES, FEATURES, VERBS, NOUNS, block=block, **{**sizes, **settings}).eval()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"block": "attention"}, 12_715_118),
        ({"block": "mamba"}, 13_079_662),
        ({"block": "mixmamba"}, 13_215_854),
        ({"hidden_dim": 2048, "num_layers": 2, "long_steps": 64}, 226_971_758),
    ],
)
def test_parameters_on_epic_kitchens_100_are_those_of_the_paper(settings, expected):
    with torch.device("meta"):
        network = nn.TeSTra(3806, 2048, 97, 300, **settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


@pytest.mark.parametrize("block", ["attention", "mamba"])
def test_work_tokens_do_not_see_later_ones_and_anticipation_sees_all(block):
    network, x = make(block), windows()
    for changed in range(WORK):
        other = x.clone()
        other[:, changed] += 1
        before, after = network(x).action, network(other).action
        assert torch.equal(before[:, :changed], after[:, :changed])
        assert (before[:, WORK:] != after[:, WORK:]).any(-1).all()


def test_router_of_mixmamba_reads_the_work_tokens_alone_unless_asked():
    for context, same in (("observed", True), ("full", False)):
        network, x = make("mixmamba", routing_context=context), windows()
        gamma = network(x).gamma
        assert gamma.shape == (2, 1, 3, 3)
        with torch.no_grad():
            network.anticipation.weight += 3
        assert torch.equal(gamma[0], network(x).gamma[0]) == same


def test_one_expert_is_mamba_to_the_bit():
    network, single = make("mamba"), make("mixmamba", num_experts=1)
    missing = single.load_state_dict(network.state_dict(), strict=False).missing_keys
    assert missing == [f"trunk.layers.{k}.router.proj.weight" for k in range(2)]
    assert torch.equal(network(windows()).action, single(windows()).action)


def test_content_of_padded_long_tokens_has_no_influence():
    network = make(long_steps=LONG, decay=0.9)
    x, padding = windows(LONG), torch.zeros(3, LONG, dtype=torch.bool)
    padding[:, :-1] = True
    other = x.clone()
    other[:, : LONG - 1] = 1e3
    found = network(x, padding).action
    assert found.isfinite().all()
    assert torch.equal(found, network(other, padding).action)


def scored_windows(features, long):
    """The window that each tick is the newest of, a row each, and its padding, by the spec."""
    newest = np.arange(features.shape[1])[:, None]
    work, before = newest - np.arange(18, -1, -2), newest - 18 - 4 * np.arange(64, 0, -1)
    hidden = before <= 0
    hidden[np.arange(len(hidden)), hidden.sum(axis=1) - 1] = False  # the newest copy of tick 0
    if not long:
        return features[0, work.clip(0)], None
    return features[0, np.hstack([before, work]).clip(0)], torch.from_numpy(hidden)


@pytest.mark.parametrize(
    ("block", "settings"),
    [
        ("attention", {"long_steps": 64, "decay": 0.9}),
        ("attention", {"long_steps": 64, "decay": 1.0, "work_in_memory": False}),
        ("attention", {}),
        ("mamba", {}),
        ("mixmamba", {}),
    ],
)
def test_a_stream_says_what_its_windows_say_and_remembers_no_more(block, settings):
    exact, long = block == "attention", "long_steps" in settings  # the scan is of float32
    network = make(block, **settings).to(torch.float64 if exact else torch.float32)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(1, 400 if long else 40, FEATURES, generator=generator)
    features = features.to(network.anticipation.weight)
    state, streamed = network.initial_state(1), []
    with torch.inference_mode():
        batch = network(*scored_windows(features, long)).action[:, -1, 1:]
        for tick in features[0]:
            logits, state = network.step(tick[None], state)
            streamed.append(logits[0])
    tolerance = 1e-12 if exact else 1e-5
    torch.testing.assert_close(torch.stack(streamed), batch, atol=tolerance, rtol=tolerance)
    assert state.work.shape[1] == 19
    assert state.long.shape[1] == (275 if long else 0)


def test_a_stream_reads_the_token_that_is_asked_for():
    network, x = make(), windows()[:, :1]
    batch = network(x.expand(-1, 10, -1)).action
    for token in (10, 11):
        found, _ = network.step(x[:, 0], network.initial_state(3), token)
        torch.testing.assert_close(found, batch[:, token, 1:])


def test_convolution_starts_normal_or_as_mamba():
    spread = [make("mamba", initialization=kind).trunk.layers[0].scan.conv_weight.std()
              for kind in ("vms", "mamba")]  # fmt: skip
    assert spread[0] > 0.7 > 0.5 > spread[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, r"num_heads \(3\) must divide hidden_dim \(16\)"),
        (
            {"block": "mamba", "long_steps": 4},
            "block is mamba: expected attention with long memory",
        ),
        ({"decay": 0.0}, "decay is 0.0: expected a number above 0, at most 1"),
        ({"block": "lstm"}, "block is 'lstm'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(**settings)


def test_windows_without_work_tokens_are_refused():
    with pytest.raises(ConfigError, match="9 features found, more than 9 expected"):
        make(long_steps=LONG)(windows(LONG)[:, :LONG])


@pytest.mark.parametrize(
    ("change", "settings", "message"),
    [
        ({"classifier.weight": None}, {}, "'classifier.weight' is missing"),
        ({"extra": torch.zeros(1)}, {}, "unknown tensor 'extra'"),
        ({"norm_f.weight": torch.zeros(3)}, {}, r"'norm_f.weight' is \(3,\), expected \(16,\)"),
        ({}, {"long_steps": 4}, "long_steps is 4, but the weights are of a network without"),
        ({}, {"num_heads": 5}, r"has 16 rows, expected a multiple of num_heads \(5\)"),
    ],
)
def test_weights_of_another_network_are_refused(change, settings, message):
    state = {k: v for k, v in {**released("mamba"), **change}.items() if v is not None}
    with pytest.raises(CheckpointError, match=message):
        nn.testra_from_reference(state, **{"long_steps": 0, "num_heads": HEADS, **settings})
