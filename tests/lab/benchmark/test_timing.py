"""Timing and memory: who runs when, what is compared, and what a peak is."""

import math
import sys

import numpy as np
import pytest
import torch

from anticipate.lab.benchmark.mixant_speed import (
    denoising_step,
    make_inputs,
    make_network,
    token_products,
)
from anticipate.lab.benchmark.timing import compare, peak_memory


def test_candidates_take_turns_after_each_has_warmed_up():
    order = []
    candidates = {name: lambda name=name: order.append(name) for name in "abc"}
    group = compare("title", candidates, repeats=2, same=False)
    assert "".join(order) == "abc" * 3
    assert [row.name for row in group.rows] == ["a", "b", "c"]
    assert group.rows[0].ratio == 1.0


def test_medians_and_ratios_are_taken_round_by_round(monkeypatch):
    ticks = [0, 1, 1, 3, 10, 20, 20, 50, 100, 102, 102, 103]  # three rounds of two
    clock = map(float, ticks)
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    first, second = compare("title", {"a": int, "b": float}, repeats=3).rows
    assert (first.seconds, first.fastest) == (2, 1)
    assert (second.seconds, second.fastest) == (2, 1)
    assert second.ratio == 2  # of 2/1, 30/10 and 1/2


def test_results_are_compared_with_those_of_the_first():
    candidates = {
        "first": lambda: (torch.tensor([1.0, -4.0]), np.array([0.0])),
        "same": lambda: (torch.tensor([1.0, -4.0]), np.array([0.0])),
        "other": lambda: (torch.tensor([1.0, -3.0]), np.array([0.0])),
    }
    rows = compare("title", candidates, repeats=1).rows
    assert [row.figures for row in rows] == [{}, {"difference": 0.0}, {"difference": 0.25}]
    rows = compare("title", candidates, repeats=1, same=False).rows
    assert [row.figures for row in rows] == [{}, {}, {}]


def test_not_a_number_is_a_difference():
    rows = compare("title", {"a": lambda: np.ones(2), "b": lambda: np.array([1, np.nan])}, 1).rows
    assert math.isnan(rows[1].figures["difference"])


def fill(mebibytes):
    """Work that holds so many MiB; its inputs hold as many, which do not count."""
    given = torch.ones(mebibytes * 2**18)
    return lambda: given + 1


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs the kernel's high-water mark")
def test_peak_memory_counts_what_the_work_holds_and_nothing_else():
    assert 199 <= peak_memory(fill, (1,), (200,))["peak MiB"] <= 220


def test_the_products_of_a_step_are_those_of_its_tokens():
    network = make_network(quick=True)
    shapes = sorted((m.in_features, m.out_features) for m in token_products(network))
    d_model, d_inner, dt_rank, d_state, classes = 8, 16, 1, 16, 5
    block = [
        (d_model, 2 * d_inner),
        *[(d_inner, dt_rank + 2 * d_state), (dt_rank, d_inner)] * 2,
        (d_inner, d_model),
        (d_model, d_model),
    ]
    assert shapes == sorted([*block * 2, (2 * classes, d_model), (d_model, classes)])


def test_a_step_depends_on_every_block():
    network = make_network(quick=True)
    step = denoising_step(network, make_inputs(network, batch=2, tokens=7))
    before = step()
    for block in network.blocks:
        with torch.no_grad():
            block.mixer.out_proj.weight.mul_(1.5)
        after = step()
        assert (after - before).abs().max() > 1e-4
        before = after
