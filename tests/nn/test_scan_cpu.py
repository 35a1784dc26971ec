"""The fused CPU scan against the reference in float64."""

import multiprocessing
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.nn.scan import selective_scan
from anticipate.nn.scan.inputs import CHUNK

TOLERANCE = 1e-4


def make_inputs(batch, d_inner, length, d_state, shared, optional, channels_last=True, seed=0):
    """Eight float32 tensors of a stable scan, contiguous along channels or along tokens."""
    generator = torch.Generator().manual_seed(seed)

    def sequence(width):
        if channels_last:
            return torch.randn(batch, length, width, generator=generator).mT
        return torch.randn(batch, width, length, generator=generator)

    A_shape = (d_inner, d_state) if shared else (batch, d_inner, d_state)
    A = -torch.randn(A_shape, generator=generator).exp()
    inputs = [sequence(d_inner), sequence(d_inner), A, sequence(d_state), sequence(d_state)]
    if not optional:
        return [*inputs, None, None, None]
    D, delta_bias = torch.randn(2, d_inner, generator=generator)
    return [*inputs, D, sequence(d_inner), delta_bias]


def run(inputs, dtype, backend, softplus, reverse):
    """Return the output and all gradients for a fixed direction."""
    leaves = [None if x is None else x.detach().to(dtype).requires_grad_() for x in inputs]
    y = selective_scan(*leaves, softplus, reverse, backend)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    y.backward(direction)
    return [y.detach(), *(x.grad for x in leaves if x is not None)]


def assert_agrees(inputs, softplus=True, reverse=False):
    results = run(inputs, torch.float32, "cpu", softplus, reverse)
    expected = run(inputs, torch.float64, "reference", softplus, reverse)
    for found, wanted in zip(results, expected, strict=True):
        scale = wanted.abs().max().clamp_min(1e-6)
        assert (found - wanted).abs().max() <= TOLERANCE * scale


@settings(max_examples=60, deadline=None)
@given(
    batch=st.sampled_from([1, 2, 3, 64]),
    d_inner=st.sampled_from([1, 2, 15, 16, 17, 40, 70]),
    length=st.integers(1, 2 * CHUNK + 3),
    d_state=st.integers(1, 64),
    shared=st.booleans(),
    optional=st.booleans(),
    channels_last=st.booleans(),
    reverse=st.booleans(),
    seed=st.integers(0, 99),
)
def test_agrees_with_the_reference(
    batch, d_inner, length, d_state, shared, optional, channels_last, reverse, seed
):
    if batch == 64:
        d_inner, d_state = min(d_inner, 17), min(d_state, 4)
    inputs = make_inputs(batch, d_inner, length, d_state, shared, optional, channels_last, seed)
    assert_agrees(inputs, softplus=True, reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
def test_without_softplus(reverse):
    inputs = make_inputs(2, 20, 40, 3, shared=False, optional=True)
    inputs[1], inputs[7] = inputs[1].abs(), inputs[7].abs()
    assert_agrees(inputs, softplus=False, reverse=reverse)


def test_reads_slices_and_broadcasts_in_place():
    """Views as a network makes them: halves of a projection, an A of one sample for all."""
    u, delta, A, B, C, D, z, bias = make_inputs(3, 32, 40, 4, shared=True, optional=True)
    u, z = torch.cat([u, z], dim=1).mT.contiguous().mT.chunk(2, dim=1)
    B, C = torch.cat([B, C], dim=1).chunk(2, dim=1)
    A = A.expand(3, -1, -1)
    delta = delta.repeat_interleave(2, dim=2)[..., ::2]
    D = D[:1].expand(32)
    assert_agrees([u, delta, A, B, C, D, z, bias])


@pytest.mark.parametrize(("limit", "tolerance"), [(10, 1e-6), (60, 5e-6)])
def test_time_steps_are_relatively_accurate(limit, tolerance):
    """Rounding x log2(e) to float32 costs |x| 2**-24, the polynomials less than 3e-7."""
    delta = torch.linspace(-limit, limit, 401)
    u = torch.ones(401, 1, 1)
    found = selective_scan(
        u, delta.reshape(-1, 1, 1), torch.zeros(1, 1), u, u, delta_softplus=True, backend="cpu"
    )
    expected = torch.nn.functional.softplus(delta.double(), threshold=100)
    torch.testing.assert_close(found.double().flatten(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize(("limit", "tolerance"), [(10, 1e-6), (80, 5e-6)])
def test_decay_is_relatively_accurate(limit, tolerance):
    """State 1 after the first token, then one decay by exp(-x)."""
    x = torch.linspace(0, limit, 401)
    u = torch.tensor([1.0, 0.0]).expand(401, 1, 2)
    delta = torch.stack([torch.ones(401), x], dim=1)[:, None]
    ones = torch.ones(401, 1, 2)
    found = selective_scan(u, delta, -torch.ones(1, 1), ones, ones, backend="cpu")[:, 0, 1]
    expected = torch.exp(-x.double())
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["u", "delta", "A", "B", "C", "D", "z", "delta_bias"])
def test_bad_numbers_stay_visible(value, name):
    inputs = make_inputs(1, 3, 5, 2, shared=False, optional=True)
    position = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias").index(name)
    inputs[position] = inputs[position].clone()
    inputs[position][(0,) * inputs[position].ndim] = value
    found = selective_scan(*inputs, True, backend="cpu")
    exact = selective_scan(*(x.double() for x in inputs), True, backend="reference")
    bad = ~torch.isfinite(exact)
    assert bad.any()
    assert (~torch.isfinite(found) | ~bad).all()


def test_growing_states_overflow_to_infinity():
    ones = torch.ones(1, 1, 200)
    y = selective_scan(ones, ones, torch.ones(1, 1), ones, ones, backend="cpu")
    assert torch.isfinite(y[..., 0])
    assert y[..., -1] == float("inf")


@pytest.fixture
def _restored_threads():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("_restored_threads")
def test_results_do_not_depend_on_the_number_of_threads():
    inputs = make_inputs(3, 40, 50, 5, shared=True, optional=True)
    torch.set_num_threads(1)
    alone = run(inputs, torch.float32, "cpu", True, False)
    torch.set_num_threads(5)
    together = run(inputs, torch.float32, "cpu", True, False)
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def _scan_in_child(inputs, queue):
    queue.put(selective_scan(*inputs, True, backend="cpu").tolist())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.usefixtures("_restored_threads")
def test_runs_in_a_forked_process():
    torch.set_num_threads(2)
    inputs = make_inputs(2, 20, 10, 5, shared=False, optional=True)
    expected = selective_scan(*inputs, True, backend="cpu").tolist()
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_scan_in_child, args=(inputs, queue), daemon=True)
    child.start()
    child.join(20)
    assert child.exitcode == 0
    assert queue.get() == expected
