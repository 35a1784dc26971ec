"""AVT-h: sizes, causality, roll-out, streams, and the weights of its authors' code."""

import math

import numpy as np
import pytest
import torch

from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn import AVT, avt_from_reference

SIZES = {"num_classes": 7, "feature_dim": 6}
GPT = "future_predictor.gpt_model"


def make_network(**settings):
    torch.manual_seed(0)
    network = AVT(**SIZES, **{"hidden_dim": 16, "num_layers": 3, "num_heads": 4, **settings})
    for parameter in network.parameters():  # the first weights are too small to show anything
        torch.nn.init.normal_(parameter, std=0.4)
    return network.eval()


def clips(steps=5, batch=2, seed=0):
    return torch.randn(batch, steps, 6, generator=torch.Generator().manual_seed(seed))


def released(feature_dim=6, hidden_dim=16, num_classes=7, layers=3, positions=12):
    """Random tensors under the names and in the shapes of the authors' code."""
    random = np.random.default_rng(0)
    shapes = {
        "future_predictor.encoder.weight": (hidden_dim, feature_dim),
        "future_predictor.decoder.weight": (feature_dim, hidden_dim),
        f"{GPT}.wpe.weight": (positions, hidden_dim),
        "classifiers.action.weight": (num_classes, feature_dim),
        "classifiers.action.bias": (num_classes,),
    }
    norms = {f"{GPT}.ln_f": hidden_dim}
    for number in range(layers):
        layer = f"{GPT}.h.{number}"
        norms |= {f"{layer}.ln_1": hidden_dim, f"{layer}.ln_2": hidden_dim}
        for name, rows, columns in (
            ("attn.c_attn", hidden_dim, 3 * hidden_dim),
            ("attn.c_proj", hidden_dim, hidden_dim),
            ("mlp.c_fc", hidden_dim, 4 * hidden_dim),
            ("mlp.c_proj", 4 * hidden_dim, hidden_dim),
        ):
            shapes[f"{layer}.{name}.weight"] = (rows, columns)
            shapes[f"{layer}.{name}.bias"] = (columns,)
    for name, width in norms.items():
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    draw = {name: 0.4 * random.normal(size=shape) for name, shape in shapes.items()}
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in draw.items()}


class Reference:
    """The equations of the paper in float64, one clip and one head at a time."""

    def __init__(self, state, num_heads):
        self.w = {name: tensor.double().numpy() for name, tensor in state.items()}
        self.num_heads = num_heads
        self.layers = sum(name.endswith("attn.c_attn.weight") for name in state)

    def norm(self, x, name):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def attention(self, x, name):
        heads = []
        q, k, v = np.split(self.linear(x, f"{name}.c_attn"), 3, axis=-1)
        parts = (np.split(part, self.num_heads, axis=-1) for part in (q, k, v))
        for queries, keys, values in zip(*parts, strict=True):
            scores = queries @ keys.T / math.sqrt(queries.shape[-1])
            for row in range(len(x)):
                scores[row, row + 1 :] = -np.inf
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ values)
        return self.linear(np.concatenate(heads, axis=-1), f"{name}.c_proj")

    def hidden(self, embedded):
        x = embedded + self.w[f"{GPT}.wpe.weight"][: len(embedded)]
        for number in range(self.layers):
            layer = f"{GPT}.h.{number}"
            x = x + self.attention(self.norm(x, f"{layer}.ln_1"), f"{layer}.attn")
            u = self.linear(self.norm(x, f"{layer}.ln_2"), f"{layer}.mlp.c_fc")
            gelu = 0.5 * u * (1 + np.tanh(math.sqrt(2 / math.pi) * (u + 0.044715 * u**3)))
            x = x + self.linear(gelu, f"{layer}.mlp.c_proj")
        return self.norm(x, f"{GPT}.ln_f")

    def features(self, clip, num_steps=1):
        """Return z of each frame and of num_steps - 1 more, each from everything before it."""
        embedded = clip @ self.w["future_predictor.encoder.weight"].T
        for _ in range(num_steps - 1):
            embedded = np.concatenate([embedded, self.hidden(embedded)[-1:]])
        return self.hidden(embedded) @ self.w["future_predictor.decoder.weight"].T

    def logits(self, clip, num_steps=1):
        w, b = self.w["classifiers.action.weight"], self.w["classifiers.action.bias"]
        return self.features(clip, num_steps) @ w.T + b


@pytest.mark.parametrize("num_heads", [1, 4, 8])
def test_outputs_are_those_of_the_authors_weights(num_heads):
    state, x = released(), clips(steps=6, batch=3)
    network = avt_from_reference(state, num_heads=num_heads)
    assert network.training
    network.eval()
    plain = Reference(state, num_heads)
    each = x.double().numpy()
    expected = np.stack([plain.logits(clip) for clip in each])
    assert expected.std() > 0.5
    close = {"atol": 1e-5, "rtol": 1e-5, "check_dtype": False}
    torch.testing.assert_close(network(x), torch.from_numpy(expected), **close)
    features = torch.from_numpy(np.stack([plain.features(clip) for clip in each]))
    torch.testing.assert_close(network.predict_features(x), features, **close)
    rolled = torch.from_numpy(np.stack([plain.logits(clip, 3)[-3:] for clip in each]))
    torch.testing.assert_close(network.rollout(x, 3), rolled, **close)


def wrapped(state):
    return {"model": {f"module.{k}": v for k, v in state.items()}, "epoch": 3, "optimizer": {}}


def with_buffers(state):
    masks = {f"{GPT}.h.{n}.attn.bias": torch.ones(1, 1, 9, 9).tril() for n in range(3)}
    masks |= {f"{GPT}.h.{n}.attn.masked_bias": torch.tensor(-1e4) for n in range(3)}
    maps = {f"cls_map_{task}_action": torch.zeros(7, 2) for task in ("verb", "noun")}
    return state | masks | maps


@pytest.mark.parametrize("change", [wrapped, with_buffers, lambda s: {"state_dict": s}])
def test_wrapping_and_buffers_change_nothing(change):
    state = released()
    plain, changed = avt_from_reference(state), avt_from_reference(change(state))
    assert torch.equal(plain.eval()(clips()), changed.eval()(clips()))


def test_every_tensor_must_be_there_and_fit():
    state = released()
    for name in state:
        rest = {key: value for key, value in state.items() if key != name}
        with pytest.raises(CheckpointError, match=r"is missing|unknown tensor"):
            avt_from_reference(rest)
        if not name.endswith("wpe.weight"):  # has as many rows as it likes
            with pytest.raises(CheckpointError, match=r"expected \(|expected a multiple"):
                avt_from_reference({**state, name: state[name][:-1]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"future_predictor.encoder.weight": torch.zeros(2)}, "has 1 axes, expected 2"),
        ({f"{GPT}.wte.weight": torch.zeros(2, 2)}, "unknown tensor 'future_predictor.gpt_model.w"),
        ({f"{GPT}.h.99999999.ln_1.bias": torch.zeros(16)}, "unknown tensor"),
        ({f"{GPT}.h.0.attn.c_attn.mask": torch.zeros(1)}, "unknown tensor"),
        ({"epoch": 3}, "entry 'epoch' is a int, expected a tensor of an AVT-h"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(CheckpointError, match=message):
        avt_from_reference(released() | change)


@pytest.mark.parametrize("content", [[1, 2], {}, {"model": []}, torch.zeros(2)])
def test_no_state_dict_is_no_network(content):
    with pytest.raises(CheckpointError, match="expected the state dict of an AVT-h"):
        avt_from_reference(content)


# Counted with the authors' code.
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"num_classes": 3806, "feature_dim": 1024}, 312_346_334),
        ({"num_classes": 3806, "feature_dim": 352}, 307_036_190),
        ({"num_classes": 2513, "feature_dim": 1024, "num_layers": 12, "num_heads": 8}, 613_170_641),
        ({"num_classes": 2513, "feature_dim": 1024}, 311_021_009),
        ({"num_classes": 106, "feature_dim": 1024, "num_layers": 2}, 107_120_746),
    ],
)
def test_parameters_are_as_many_as_in_the_authors_code(settings, expected):
    with torch.device("meta"):
        network = AVT(**settings)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def test_first_weights_follow_the_authors_two_laws():
    torch.manual_seed(0)
    network = AVT(50, 60, hidden_dim=64, num_layers=2)
    outer = ("encoder.weight", "decoder.weight", "classifier.1.weight")
    for name, parameter in network.named_parameters():
        if "norm" not in name and name.endswith("weight"):
            expected = 0.01 if name in outer else 0.02
            assert parameter.std().item() == pytest.approx(expected, rel=0.06), name
        elif name.endswith("bias"):
            assert not parameter.any(), name


@pytest.mark.parametrize("changed", range(5))
def test_a_frame_changes_no_forecast_before_it(changed):
    network, x = make_network(), clips()
    other = x.clone()
    other[:, changed] += 1
    before, after = network(x), network(other)
    assert torch.equal(before[:, :changed], after[:, :changed])
    assert (before[:, changed:] != after[:, changed:]).any(dim=2).all()


def test_one_step_of_a_rollout_is_the_forecast_of_the_last_frame():
    network, x = make_network(), clips()
    assert torch.equal(network.rollout(x, 1), network(x)[:, -1:])
    assert torch.equal(network.rollout(x, 3)[:, :2], network.rollout(x, 2))


def test_a_stream_is_a_clip_of_the_frames_in_its_window():
    network, x = make_network(window=4), clips(steps=9)
    state = network.initial_state(len(x))
    for newest in range(x.shape[1]):
        logits, after = network.step(x[:, newest], state)
        again, _ = network.step(x[:, newest], state)
        assert torch.equal(logits, again), "the old state stays as it is"
        state = after
        clip = x[:, max(0, newest - 3) : newest + 1]
        torch.testing.assert_close(logits, network(clip)[:, -1])
        assert state.frames.shape[1] == state.blocks[0].keys.shape[2] == clip.shape[1]


def test_clips_of_a_batch_do_not_meet():
    network, x = make_network(), clips(batch=3)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_dropout_acts_in_training_alone():
    network, x = make_network(), clips()
    assert torch.equal(network(x), network(x))
    network.train()
    assert not torch.equal(network(x), network(x))
    still = make_network(dropout=0.0, body_dropout=0.0)
    assert torch.equal(still.train()(x), still.eval()(x))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, r"num_heads \(3\) must divide hidden_dim \(16\)"),
        ({"num_layers": 0}, "num_layers must be at least 1, got 0"),
        ({"window": 0}, r"window must lie in 1 .. num_positions \(1024\), got 0"),
        ({"num_positions": 4}, r"num_positions \(4\), got 10"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        make_network(**settings)


def test_clips_longer_than_the_positions_are_refused():
    network = make_network(num_positions=4, window=4)
    with pytest.raises(ConfigError, match="5 frames found, at most 4 expected"):
        network(clips())
    with pytest.raises(ConfigError, match="5 frames found, at most 4 expected"):
        network.rollout(clips(steps=4), 2)
