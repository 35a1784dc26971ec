"""FUTR: sizes, the network in plain numpy on the authors' tensors, padding, decoding, weights."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn import FUTR, futr_from_reference
from anticipate.nn.futr import Attention, EncoderLayer, future_labels, normalized_durations

SIZES = {
    "num_classes": 5,
    "feature_dim": 7,
    "hidden_dim": 16,
    "num_encoder_layers": 2,
    "num_decoder_layers": 2,
    "num_queries": 4,
    "num_heads": 2,
    "max_tokens": 12,
}


WIDE = {"hidden_dim": 512, "num_decoder_layers": 2, "num_queries": 20}


# Of the released code with the settings of its scripts; the last is by the same formula.
@pytest.mark.parametrize(
    ("num_classes", "sizes", "expected"),
    [
        (48, {}, 1_193_314),
        (19, WIDE | {"max_tokens": 3100}, 17_380_904),
        (202, WIDE | {"max_tokens": 5000}, 18_541_462),
    ],
)
def test_parameter_counts(num_classes, sizes, expected):
    with torch.device("meta"):
        network = FUTR(num_classes, 2048, **sizes)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def released_tensors(num_classes=5, feature_dim=7, hidden=16, queries=4, positions=12, layers=2):
    """Random tensors under the names of the authors' code."""
    shapes = {
        "input_embed": (hidden, feature_dim),
        "fc_seg": (num_classes, hidden),
        "fc": (num_classes + 1, hidden),
        "fc_len": (1, hidden),
    }
    vectors = ["transformer.decoder.norm"]
    for layer in range(layers):
        encoder = f"transformer.encoder.layers.{layer}"
        decoder = f"transformer.decoder.layers.{layer}"
        for part in (encoder, decoder):
            shapes[f"{part}.linear1"] = (4 * hidden, hidden)
            shapes[f"{part}.linear2"] = (hidden, 4 * hidden)
        for part in (f"{encoder}.self_attn", f"{decoder}.self_attn", f"{decoder}.multihead_attn"):
            shapes[f"{part}.in_proj"] = (3 * hidden, hidden)
            shapes[f"{part}.out_proj"] = (hidden, hidden)
        vectors += [f"{encoder}.norm{i}" for i in (1, 2)] + [
            f"{decoder}.norm{i}" for i in (1, 2, 3)
        ]
    named = {"pos_embedding": (1, positions, hidden), "query_embed.weight": (queries, hidden)}
    for name, shape in (shapes | {name: (hidden,) for name in vectors}).items():
        mark = "_" if name.endswith("in_proj") else "."
        named[f"{name}{mark}weight"], named[f"{name}{mark}bias"] = shape, shape[:1]
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64}
    return {name: 0.5 * torch.randn(shape, **draw) for name, shape in named.items()}


def reference_attention(tensors, name, queries, keys, heads=2):
    """One video, head by head; keys are values."""
    weight, bias = tensors[f"{name}.in_proj_weight"], tensors[f"{name}.in_proj_bias"]
    (wq, wk, wv), (bq, bk, bv) = np.split(weight, 3), np.split(bias, 3)
    q, k, v = queries @ wq.T + bq, keys @ wk.T + bk, keys @ wv.T + bv
    found = np.zeros_like(q)
    for head in np.split(np.arange(q.shape[1]), heads):
        scores = q[:, head] @ k[:, head].T / np.sqrt(len(head))
        weights = np.exp(scores - scores.max(1, keepdims=True))
        found[:, head] = weights / weights.sum(1, keepdims=True) @ v[:, head]
    return found @ tensors[f"{name}.out_proj.weight"].T + tensors[f"{name}.out_proj.bias"]


def reference_network(tensors, features, layers=2):
    """One video, from the authors' tensors to segmentation, actions and durations."""
    tensors = {name: tensor.numpy() for name, tensor in tensors.items()}

    def linear(name, x):
        return x @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]

    def norm(name, x):
        deviation = x - x.mean(1, keepdims=True)
        scaled = deviation / np.sqrt((deviation**2).mean(1, keepdims=True) + 1e-5)
        return scaled * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def mlp(name, x):
        return linear(f"{name}.linear2", np.maximum(linear(f"{name}.linear1", x), 0))

    p, queries = tensors["pos_embedding"][0, : len(features)], tensors["query_embed.weight"]
    x = np.maximum(linear("input_embed", features), 0)
    for layer in range(layers):
        name = f"transformer.encoder.layers.{layer}"
        found = reference_attention(tensors, f"{name}.self_attn", x + p, x + p)
        x = norm(f"{name}.norm1", x + found)
        x = norm(f"{name}.norm2", x + mlp(name, x))
    y = np.zeros_like(queries)
    for layer in range(layers):
        name = f"transformer.decoder.layers.{layer}"
        asked = y + queries
        y = norm(
            f"{name}.norm1", y + reference_attention(tensors, f"{name}.self_attn", asked, asked)
        )
        found = reference_attention(tensors, f"{name}.multihead_attn", y + queries, x + p)
        y = norm(f"{name}.norm2", y + found)
        y = norm(f"{name}.norm3", y + mlp(name, y))
    y = norm("transformer.decoder.norm", y)
    return linear("fc_seg", x), linear("fc", y), linear("fc_len", y)[:, 0]


def loaded(tensors=None, **settings):
    network = futr_from_reference(tensors or released_tensors(), num_heads=2, **settings)
    return network.double().eval()


def inputs(rows=2, tokens=9, observed=(9, 6)):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(rows, tokens, 7, generator=generator, dtype=torch.float64)
    return features, torch.arange(tokens) < torch.tensor(observed)[:, None]


@pytest.mark.parametrize("prefix", ["", "module."])
def test_loaded_weights_compute_what_the_reference_does(prefix):
    tensors = released_tensors()
    theirs = {f"{prefix}{name}": tensor for name, tensor in tensors.items()}
    theirs[f"{prefix}pos_enc.pos_table"] = torch.zeros(1, 12, 16)  # never read
    network = loaded(theirs)
    features, observed = inputs()
    output = network(features, observed)
    for row, length in enumerate(observed.sum(dim=1).tolist()):
        # The loader stores float32: their rounding of the weights is all the difference.
        expected = reference_network(
            {name: tensor.float().double() for name, tensor in tensors.items()},
            features[row, :length].numpy(),
        )
        found = (output.segmentation[row, :length], output.actions[row], output.durations[row])
        for ours, reference in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.detach().numpy(), reference, rtol=0, atol=1e-11)


def same_attention(attention):
    """torch's attention with the same weights."""
    torch_s = torch.nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64).eval()
    names = {"in_proj.weight": "in_proj_weight", "in_proj.bias": "in_proj_bias"}
    state = {names.get(name, name): value for name, value in attention.state_dict().items()}
    torch_s.load_state_dict(state)
    return torch_s


@pytest.mark.parametrize("asking", [5, 3])
def test_attention_equals_that_of_torch(asking):
    torch.manual_seed(0)
    attention = Attention(8, 2, 0.1).double().eval()
    torch.nn.init.normal_(attention.in_proj.bias)
    queries, keys = torch.randn(2, asking, 8).double(), torch.randn(2, 5, 8).double()
    seen = torch.tensor([[True] * 5, [True] * 2 + [False] * 3])
    expected, _ = same_attention(attention)(queries, keys, keys, key_padding_mask=~seen)
    torch.testing.assert_close(attention(queries, keys, seen), expected)
    assert not torch.allclose(attention(queries, keys), expected)


def test_values_carry_positions():
    torch.manual_seed(0)
    layer = EncoderLayer(8, 2, 0.1).double().eval()
    x, p = torch.randn(2, 5, 8).double(), torch.randn(1, 5, 8).double()
    seen = torch.ones(2, 5, dtype=torch.bool)

    def layer_with(values):
        found, _ = same_attention(layer.self_attention)(x + p, x + p, values)
        y = layer.norm1(x + found)
        return layer.norm2(y + layer.feed_forward(y))

    torch.testing.assert_close(layer(x, p, seen), layer_with(x + p))
    assert not torch.allclose(layer(x, p, seen), layer_with(x), atol=1e-3)


def test_neither_padding_nor_batch_nor_unobserved_features_matter():
    network = loaded()
    features, observed = inputs()
    batch = network(features, torch.nn.functional.pad(observed, (0, 20)))
    alone = network(features[1:, :6], observed[1:, :6])
    torch.testing.assert_close(batch.segmentation[1:, :6], alone.segmentation, rtol=0, atol=1e-12)
    torch.testing.assert_close(batch.actions[1:], alone.actions, rtol=0, atol=1e-12)
    torch.testing.assert_close(batch.durations[1:], alone.durations, rtol=0, atol=1e-12)
    other = network(features + 9 * ~observed.unsqueeze(-1), observed)
    for first, second in zip(batch, other, strict=True):
        assert torch.equal(first, second)
    changed = network(features + observed.unsqueeze(-1), observed)
    assert not torch.allclose(changed.actions, batch.actions)


def test_queries_are_told_apart_by_their_embeddings_alone():
    network = loaded()
    before = network(*inputs())
    order = torch.tensor([2, 0, 3, 1])
    with torch.no_grad():
        network.decoder.queries.copy_(network.decoder.queries[order])
    after = network(*inputs())
    torch.testing.assert_close(after.actions, before.actions[:, order], rtol=0, atol=1e-12)
    torch.testing.assert_close(after.durations, before.durations[:, order], rtol=0, atol=1e-12)


def test_weights_start_as_in_the_released_code():
    torch.manual_seed(0)
    network = FUTR(48, 64, hidden_dim=32, num_queries=100, max_tokens=50)
    layer = network.decoder.layers[0]
    for parameter, fans in (
        (network.encoder.input.weight, 64 + 32),
        (network.encoder.positions, 50 * 32 + 32),  # the rule for three axes
        (layer.cross_attention.in_proj.weight, 3 * 32 + 32),
        (layer.feed_forward[0].weight, 32 + 128),
        (network.actions.weight, 32 + 49),
    ):
        bound = (6 / fans) ** 0.5
        assert 0.95 * bound < parameter.abs().max() <= bound
    assert network.decoder.queries.std().item() == pytest.approx(1, abs=0.05)
    assert not layer.self_attention.in_proj.bias.any()
    assert not layer.self_attention.out_proj.bias.any()
    assert network.actions.bias.any()


def test_dropout_acts_in_training_alone():
    network, (features, observed) = loaded(), inputs()
    assert torch.equal(network(features, observed).actions, network(features, observed).actions)
    network.train()
    first, second = (network(features, observed).actions for _ in range(2))
    assert not torch.equal(first, second)


def test_more_tokens_than_positions_are_refused():
    network = FUTR(**SIZES)
    with pytest.raises(ConfigError, match=r"13 tokens are observed.* max_tokens = 12 .*: raise"):
        network(torch.zeros(1, 13, 7), torch.ones(1, 13, dtype=torch.bool))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"num_heads": 3}, "hidden_dim must be a multiple of num_heads, got 16 and 3"),
        ({"num_queries": 0}, "must be at least 1, got 2, 2 and 0"),
    ],
)
def test_impossible_sizes_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        FUTR(**SIZES | wrong)


def reference_labels(actions, durations, num_frames, released):
    """Frames one after the other, as the decoding is described."""
    num_queries, none = len(actions), actions.shape[1] - 1
    best = actions.argmax(1)
    cut = next((query for query in range(num_queries) if best[query] == none), num_queries)
    if cut == 0 and not released:
        return [actions[0, :none].argmax()] * num_frames
    weights = np.exp(durations[:cut])
    lengths = [int(np.floor(0.5 + num_frames * w / weights.sum())) for w in weights]
    lengths += [0] * (num_queries - cut)
    last = num_queries - 1 if released else cut - 1
    labels = [best[query] for query in range(last) for _ in range(lengths[query])][:num_frames]
    return labels + [best[last]] * (num_frames - len(labels))


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), num_frames=st.integers(0, 50), released=st.booleans())
def test_decoding_follows_the_reference(seed, num_frames, released):
    random = np.random.default_rng(seed)
    actions, durations = random.normal(size=(4, 4)), random.normal(size=4)
    labels = future_labels(
        torch.from_numpy(actions), torch.from_numpy(durations), num_frames, released
    )
    assert labels.tolist() == reference_labels(actions, durations, num_frames, released)
    assert len(labels) == num_frames
    assert released or (labels < 3).all()


def one_hot(*classes, num_classes=3):
    return torch.eye(num_classes + 1)[list(classes)]


@pytest.mark.parametrize(
    ("classes", "num_frames", "corrected", "released"),
    [
        ((0, 1, 3), 5, [0, 0, 0, 1, 1], [0, 0, 0, 1, 1]),  # 2.5 is rounded up, the horizon ends
        ((0, 1, 2, 3), 4, [0, 1, 2, 2], [0, 1, 2, 3]),  # a third of 4: one frame is left over
        ((0, 1, 2, 3, 1), 4, [0, 1, 2, 2], [0, 1, 2, 1]),  # the last query, though it is not used
        ((2, 1), 3, [2, 2, 1], [2, 2, 1]),  # no NONE: all count
        ((3, 0, 3), 2, [0, 0], [3, 3]),  # NONE first; logits of classes are equal
        ((3, 1), 2, [0, 0], [1, 1]),
        ((0, 3), 0, [], []),
    ],
)
def test_decoding_by_hand(classes, num_frames, corrected, released):
    actions, durations = one_hot(*classes), torch.zeros(len(classes))
    assert future_labels(actions, durations, num_frames).tolist() == corrected
    assert future_labels(actions, durations, num_frames, released=True).tolist() == released


def test_durations_are_shares_of_the_slots_with_a_segment():
    durations = torch.tensor([[0.0, math.log(3), 5.0], [800.0, 800.0, 800.0]])
    shares = normalized_durations(durations, torch.tensor([[True, True, False], [True] * 3]))
    torch.testing.assert_close(shares, torch.tensor([[0.25, 0.75, 0.0], [1 / 3] * 3]))


def without(name):
    return {key: value for key, value in released_tensors().items() if key != name}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([], "expected the state dict of a FUTR"),
        ({}, "expected the state dict of a FUTR"),
        ({"a": 1}, "entry 'a' is a int, expected a tensor"),
        (without("fc_len.bias"), "tensor 'fc_len.bias' is missing"),
        (without("pos_embedding"), "'pos_embedding' is missing, expected three axes"),
        (without("input_embed.weight"), "tensor 'input_embed.weight' is missing"),
        (released_tensors(layers=0), r"no tensor 'transformer.encoder.layers.0.\*'"),
        (released_tensors() | {"extra.weight": torch.zeros(2)}, "unknown tensor 'extra.weight'"),
        (
            released_tensors() | {"fc.weight": torch.zeros(5, 16)},
            r"'fc.weight' is \(5, 16\), expected \(6, 16\)",
        ),
        (released_tensors(hidden=15), "'input_embed.weight' has 15 rows, expected a multiple of 2"),
    ],
)
def test_other_weights_are_refused(tensors, message):
    with pytest.raises(CheckpointError, match=message):
        futr_from_reference(tensors, num_heads=2)
