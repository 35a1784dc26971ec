"""What AGA makes of past predictions: its own, labels, noise; and how they become a query."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.errors import ConfigError
from anticipate.nn import AGA
from anticipate.nn.aga import make_query
from anticipate.nn.aga_past import labelled_past, perturbed_past
from anticipate.types import PAD_LABEL

SMALL = {"num_classes": 6, "feature_dim": 5, "hidden_dim": 16, "num_heads": 4}


def make(**options):
    torch.manual_seed(0)
    network = AGA(**{**SMALL, **options}).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return network


def clips(batch=2, steps=7):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, steps, 5, generator=generator, dtype=torch.float64)


def reference_softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def reference_average(predictions, weight, kind):
    """Each step's query, from the formulas of the paper and of the authors' code."""
    if kind == "ema_released":
        average = np.zeros_like(predictions[0])
        for newest in predictions:
            average = (1 - weight) * reference_softmax(average) + weight * newest
            yield average
        return
    average = predictions[0]
    for newest in predictions:
        average = weight * newest + (1 - weight) * average
        yield average


@settings(max_examples=30, deadline=None)
@given(
    weight=st.floats(0.05, 1.0),
    kind=st.sampled_from(["ema", "ema_released"]),
    seed=st.integers(0, 99),
)
def test_the_average_is_that_of_the_formulas(weight, kind, seed):
    probs = reference_softmax(np.random.default_rng(seed).normal(size=(5, 2, 4)))
    query, summary = make_query(kind, 4, weight, "probs"), ()
    for newest, expected in zip(probs, reference_average(probs, weight, kind), strict=True):
        summary = query(torch.from_numpy(newest), summary)
        np.testing.assert_allclose(summary[0].numpy(), expected, atol=1e-12)


def test_the_released_average_has_no_memory():
    """Weight of the last prediction but one: 0.16 in the paper's formula, 1.2e-4 there."""
    predictions = torch.eye(3806, dtype=torch.float64)[:3].unsqueeze(1)
    weights = {}
    for kind in ("ema", "ema_released"):
        query, summary = make_query(kind, 3806, 0.8, "probs"), ()
        for newest in predictions:
            summary = query(newest, summary)
        weights[kind] = summary[0][0, 1].item()
    assert weights["ema"] == pytest.approx(0.16, abs=1e-4)
    assert weights["ema_released"] == pytest.approx(1.2e-4, abs=5e-6)


def test_the_average_starts_at_the_first_prediction():
    probs = make()(clips())[:, 0].softmax(dim=-1)
    torch.testing.assert_close(make().trace(clips()).queries[:, 1], probs)


def test_labels_take_the_place_of_predictions():
    network = make()
    labels = torch.tensor([[3, 1, PAD_LABEL, 0, 5, 2, 4], [0, 0, 1, -1, 2, 2, 2]])
    trace = network.trace(clips(), labels)
    one_hot = torch.eye(6).double()[labels.clamp(min=0)] * (labels >= 0).unsqueeze(-1)
    assert torch.equal(trace.predictions, one_hot)
    torch.testing.assert_close(trace.queries[:, 2], 0.8 * one_hot[:, 1] + 0.2 * one_hot[:, 0])
    assert (trace.logits - network(clips())).abs().max() > 1e-6
    past = labelled_past(labels, 6)
    torch.testing.assert_close(network(clips(), past), trace.logits)


def test_the_released_query_takes_labels_for_logits():
    trace = make(query="ema_released").trace(clips(), torch.full((2, 7), 3))
    flat = torch.eye(6).double()[3].softmax(dim=-1)
    expected = 0.8 * flat + 0.2 / 6
    torch.testing.assert_close(trace.queries[:, 1], expected.expand(2, 6))


def test_only_the_best_action_is_remembered():
    trace = make(hard_top1=True, query="last").trace(clips())
    best = torch.eye(6).double()[trace.logits.argmax(dim=-1)]
    torch.testing.assert_close(trace.queries[:, 1:], best[:, :-1])


@pytest.mark.parametrize("placement", ["random", "block"])
@pytest.mark.parametrize("num_perturbed", [0, 1, 4, 6])
def test_so_many_steps_are_perturbed_and_never_the_last(placement, num_perturbed):
    past = perturbed_past([5, 6, 7], 7, 6, num_perturbed, placement)
    assert (past.given.sum(dim=1) == num_perturbed).all()
    assert not past.given[:, -1].any()
    places = [row.nonzero().flatten() for row in past.given]
    if placement == "block" and num_perturbed > 1:
        assert all((row.diff() == 1).all() for row in places)


def test_a_row_of_noise_depends_on_its_seed_alone():
    together = perturbed_past([1, 2, 3], 30, 6, 12)
    alone = perturbed_past([3], 30, 6, 12)
    assert torch.equal(together.given[2], alone.given[0])
    assert torch.equal(together.predictions[2], alone.predictions[0])
    assert not torch.equal(together.given[0], together.given[1])
    noise = perturbed_past(range(50), 30, 20, 29).predictions[:, :-1]
    assert noise.mean().abs() < 0.02
    assert abs(noise.std() - 1) < 0.02


def test_noise_is_remembered_where_it_is_given_and_only_there():
    network = make()
    past = perturbed_past([1, 2], 7, 6, 3)
    trace = network.trace(clips(), past)
    given = past.given.unsqueeze(-1)
    expected = torch.where(given, past.predictions.double(), trace.logits)
    assert torch.equal(trace.predictions, expected)
    none = perturbed_past([1, 2], 7, 6, 0)
    assert torch.equal(network(clips(), none), network(clips()))


def test_more_steps_than_there_are_cannot_be_perturbed():
    with pytest.raises(ConfigError, match="cannot perturb 7 steps of a clip of 7: choose between"):
        perturbed_past([1], 7, 6, 7)
