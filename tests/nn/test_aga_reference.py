"""AGA with the weights of its authors' code, beside a plain reading of that code."""

import itertools

import pytest
import torch

from anticipate.errors import CheckpointError
from anticipate.nn import aga_from_reference
from tests.nn.reencoding_aga import ReencodingAGA

SIZES = {"num_classes": 11, "feature_dim": 12, "hidden_dim": 32}
VARIANTS = [
    {"query": query, "gate": gate, "attention": attention}
    for query, gate, attention in itertools.product(
        ("ema", "ema_released", "last", "lstm"),
        ("elementwise", "scalar", "none", "history"),
        ("action_guided", "visual"),
    )
]
NEVER_TRAINED = ("k_norm.g", "v_norm.g")


def reference(**variant):
    torch.manual_seed(0)
    network = ReencodingAGA(**SIZES, **variant).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return network


def tensors(**variant):
    return dict(reference(**variant).state_dict())


@pytest.mark.parametrize("queue_length", [1, 4, 30])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_outputs_agree(variant, queue_length):
    theirs = reference(queue_length=queue_length, **variant)
    ours = aga_from_reference(theirs.state_dict(), queue_length=queue_length, **variant).eval()
    features = torch.randn(3, 9, 12, generator=torch.Generator().manual_seed(1))
    expected = theirs(features)
    assert expected.std() > 0.5
    torch.testing.assert_close(ours(features), expected, atol=1e-5, rtol=0)


# From the authors' checkpoint for EPIC-Kitchens-100.
@pytest.mark.parametrize(
    ("num_classes", "variant", "expected"),
    [
        (3806, {}, 31_670_358),
        (2513, {}, 27_691_797),
        (106, {}, 20_285_458),
        (3806, {"attention": "visual"}, 33_909_914),
        (3806, {"gate": "scalar"}, 30_620_247),
        (3806, {"query": "lstm"}, 147_585_894),
    ],
)
def test_the_plain_reading_has_the_released_sizes(num_classes, variant, expected):
    with torch.device("meta"):
        network = ReencodingAGA(num_classes, 1024, **variant)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    assert "query" in variant or len(network.state_dict()) == 40 - 2 * ("attention" in variant)


@pytest.mark.parametrize("prefix", ["", "graph.P.", "P.", "model."])
@pytest.mark.parametrize("wrapped", [False, True])
def test_prefix_and_wrapping_do_not_matter(prefix, wrapped):
    found = {prefix + name: tensor for name, tensor in tensors().items()}
    network = aga_from_reference({"state_dict": found, "epoch": 3} if wrapped else found)
    assert torch.equal(network.history_norm.gain, tensors()["hx_norm.g"])


def test_sizes_come_from_the_tensors():
    theirs = ReencodingAGA(7, 9, hidden_dim=48).eval()
    state = {k: v for k, v in theirs.state_dict().items() if not k.startswith("encoder.0.")}
    network = aga_from_reference(state, queue_length=5)
    assert (network.num_classes, network.queue_length, network.retrieval.num_heads) == (7, 5, 16)
    theirs.encoder[0] = torch.nn.Identity()
    features = torch.randn(2, 8, 9)
    theirs.queue_length = 5
    torch.testing.assert_close(network.eval()(features), theirs(features), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", tensors())
def test_every_tensor_that_is_used_must_be_there_and_fit(name):
    found = tensors()
    if name.startswith("state_transform.target_f2") and name.endswith(NEVER_TRAINED):
        del found[name]
        aga_from_reference(found)
        return
    smaller = {**found, name: found[name][:-1]}
    with pytest.raises(CheckpointError, match=r"expected .|is missing"):
        aga_from_reference(smaller)
    del found[name]
    with pytest.raises(CheckpointError, match=r"expected .|is missing"):
        aga_from_reference(found)


def test_what_a_variant_does_not_use_may_be_there_or_not():
    found = tensors()
    without_gate = {k: v for k, v in found.items() if not k.startswith("selector.")}
    one, two = (aga_from_reference(state, gate="none") for state in (found, without_gate))
    assert one.state_dict().keys() == two.state_dict().keys()
    with pytest.raises(
        CheckpointError, match=r"'selector.0.weight' is missing: choose query, gate"
    ):
        aga_from_reference(without_gate)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder.3.weight": torch.zeros(2)}, "'encoder.3.weight' has 1 axes, expected 2"),
        ({"encoder.3.weight": torch.zeros(30, 12)}, "has 30 rows, expected a multiple of 16"),
        ({"hx_norm.g": torch.zeros(31)}, r"'hx_norm.g' is \(31,\), expected \(32,\)"),
        ({"decoder.weight": torch.zeros(1)}, "unknown tensor 'decoder.weight'"),
        ({"hx_norm.gain": torch.zeros(32)}, "unknown tensor 'hx_norm.gain'"),
        ({"epoch": 3}, "entry 'epoch' is a int, expected a tensor"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(CheckpointError, match=message):
        aga_from_reference({**tensors(), **change})


@pytest.mark.parametrize("content", [[1, 2], {}, {"state_dict": []}, torch.zeros(2)])
def test_no_state_dict_is_no_network(content):
    with pytest.raises(CheckpointError, match="expected the state dict of an AGA"):
        aga_from_reference(content)
