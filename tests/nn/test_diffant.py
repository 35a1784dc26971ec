"""DiffAnt: sizes, FUTR as its special case, latents that do not collapse, padding and batches."""

import math

import pytest
import torch

from anticipate.errors import ConfigError
from anticipate.nn import FUTR, DiffAnt
from anticipate.types import PAD_LABEL

CLASSES, FEATURES, QUERIES, HIDDEN = 5, 7, 4, 16
SIZES = {"hidden_dim": HIDDEN, "num_queries": QUERIES, "num_heads": 2, "max_tokens": 12}
WIDE = {"hidden_dim": 512, "num_decoder_layers": 2, "num_queries": 20}


# FUTR's counts and (C + 1) h + 8 h^2 + 5 h + h^2 + h.
@pytest.mark.parametrize(
    ("num_classes", "sizes", "expected"),
    [
        (48, {}, 1_347_810),
        (48, {"latent": "class_duration"}, 1_347_810 + 2 * 128),
        (19, WIDE | {"max_tokens": 3100}, 19_753_512),
        (202, WIDE | {"max_tokens": 5000}, 21_007_766),
    ],
)
def test_parameter_counts(num_classes, sizes, expected):
    with torch.device("meta"):
        network = DiffAnt(num_classes, 2048, **sizes)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected


def make_network(**options):
    torch.manual_seed(0)
    return DiffAnt(CLASSES, FEATURES, **SIZES | options).double().eval()


def inputs(rows=2, tokens=9, observed=(9, 6)):
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(rows, tokens, FEATURES, generator=generator, dtype=torch.float64)
    return features, torch.arange(tokens) < torch.tensor(observed)[:, None]


def noisy(futures):
    generator = torch.Generator().manual_seed(2)
    z_s = torch.randn(futures, QUERIES, HIDDEN, generator=generator, dtype=torch.float64)
    return z_s, torch.arange(futures) * 100


def test_without_latents_and_step_it_is_futr():
    network = make_network()
    futr = FUTR(CLASSES, FEATURES, **SIZES).double().eval()
    futr.load_state_dict(network.futr.state_dict())
    z_s, s = noisy(2)
    memory = network.encode(*inputs())
    assert not torch.allclose(
        network.read(network(z_s, s, memory), memory).actions, futr(*inputs()).actions
    )
    with torch.no_grad():
        for parameter in (*network.noisy.parameters(), *network.step[-1].parameters()):
            parameter.zero_()
    output = network.read(network(z_s, s, memory), memory)
    for ours, theirs in zip(output, futr(*inputs()), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("changed", ["z_s", "s"])
def test_latents_and_step_matter(changed):
    network = make_network()
    memory, (z_s, s) = network.encode(*inputs()), noisy(2)
    other = {"z_s": (z_s + 1, s), "s": (z_s, s + 1)}[changed]
    assert not torch.allclose(network(z_s, s, memory), network(*other, memory))


def test_every_class_has_a_latent_of_the_same_norm():
    network = make_network()
    actions = torch.tensor([[0, 1, 2, 3], [4, CLASSES, PAD_LABEL, PAD_LABEL]])
    durations = torch.tensor([[0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0]]).double()
    z_0 = network.latents(actions, durations)
    torch.testing.assert_close(z_0.norm(dim=-1), torch.full((2, 4), math.sqrt(HIDDEN)).double())
    directions = network.embedding / network.embedding.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(z_0[0], math.sqrt(HIDDEN) * directions[:4])
    assert torch.equal(z_0[1, 2:], z_0[1, 1].expand(2, -1))  # padding counts as NONE
    assert torch.equal(z_0, network.latents(actions, torch.zeros_like(durations)))


def test_durations_can_be_part_of_the_latent():
    network = make_network(latent="class_duration")
    actions = torch.tensor([[0, 0, CLASSES, PAD_LABEL]])
    z_0 = network.latents(actions, torch.tensor([[0.25, 0.75, 0.0, 0.0]]).double())
    difference = 0.5 * network.duration.weight[:, 0]
    torch.testing.assert_close(z_0[0, 1] - z_0[0, 0], difference)


def test_the_loss_of_the_latents_moves_the_embedding_but_not_its_norm():
    network = make_network()
    actions = torch.tensor([[0, 1, CLASSES, PAD_LABEL], [2, 3, 4, CLASSES]])
    memory, (z_s, s) = network.encode(*inputs()), noisy(2)
    z_0 = network.latents(actions, torch.zeros(2, QUERIES).double())
    (network(z_s, s, memory) - z_0).square().mean().backward()
    gradient = network.embedding.grad
    assert (gradient.abs().sum(dim=-1) > 1e-6).all()
    along = (gradient * network.embedding).sum(dim=-1)
    torch.testing.assert_close(along, torch.zeros_like(along), rtol=0, atol=1e-12)


def test_neither_padding_nor_batch_nor_unobserved_features_matter():
    network = make_network()
    features, observed = inputs()
    z_s, s = noisy(6)  # three futures of each video
    memory = network.encode(features, torch.nn.functional.pad(observed, (0, 20)))
    estimate = network(z_s, s, memory)
    alone = network.encode(features[1:, :6], observed[1:, :6])
    for row in (3, 5):
        one = network(z_s[row : row + 1], s[row : row + 1], alone)
        torch.testing.assert_close(estimate[row : row + 1], one, rtol=0, atol=1e-12)
    other = network.encode(features + 9 * ~observed.unsqueeze(-1), observed)
    assert torch.equal(network(z_s, s, other), estimate)
    changed = network.encode(features + observed.unsqueeze(-1), observed)
    assert not torch.allclose(network(z_s, s, changed), estimate)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_dim": 15, "num_heads": 3}, "hidden_dim must be even and at least 4 .* got 15"),
        ({"num_heads": 3}, "hidden_dim must be a multiple of num_heads, got 16 and 3"),
        ({"latent": "duration"}, "latent is 'duration': expected one of class, class_duration"),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(ConfigError, match=message):
        make_network(**wrong)
