"""Linear maps against torch's own."""

import jaxtyping
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.errors import ConfigError
from anticipate.nn.cpu.linear import Linear, linear


def run(function, tensors):
    """Return the output and all gradients for a fixed direction."""
    leaves = [None if x is None else x.detach().requires_grad_() for x in tensors]
    y = function(*leaves)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype))
    return [y.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]


def make(leading, in_features, out_features, bias=True):
    """x as a part of a wider tensor, as a split leaves it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(*leading, in_features + 3, generator=generator)[..., :in_features]
    weight = torch.randn(out_features, in_features, generator=generator)
    return [x, weight, torch.randn(out_features, generator=generator) if bias else None]


@settings(max_examples=40, deadline=None)
@given(
    leading=st.lists(st.integers(1, 5), max_size=3),
    in_features=st.integers(1, 70),
    out_features=st.integers(1, 70),
    bias=st.booleans(),
)
def test_output_and_gradients_are_those_of_torch(leading, in_features, out_features, bias):
    tensors = make([1, *leading], in_features, out_features, bias)
    expected = run(F.linear, [None if x is None else x.double() for x in tensors])
    for found, wanted in zip(run(linear, tensors), expected, strict=True):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-4)


def test_frozen_weights_get_no_gradient():
    x, weight, bias = make([4], 3, 5)
    x.requires_grad_()
    linear(x, weight, bias).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(4, 3))
    assert weight.grad is None


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_torch_to_the_bit(dtype):
    tensors = [x.to(dtype) for x in make([2, 3], 4, 5)]
    assert torch.equal(linear(*tensors), F.linear(*tensors))


def test_autocast_lowers_the_precision():
    with torch.autocast("cpu", torch.bfloat16):
        assert linear(*make([2, 3], 4, 5)).dtype == torch.bfloat16


def test_module_is_a_drop_in():
    theirs, ours = torch.nn.Linear(4, 5), Linear(4, 5)
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 4)
    torch.testing.assert_close(ours(x), theirs(x))


def test_the_compiler_sees_torch_s_own(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    tensors = make([2, 3], 4, 5)
    found, expected = run(linear, tensors), run(F.linear, tensors)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_second_derivatives_are_refused():
    x, weight, _ = make([3], 4, 5)
    x.requires_grad_()
    (grad,) = torch.autograd.grad(linear(x, weight).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


def test_another_width_says_which(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for a user
    x, weight, bias = make((2, 3), 4, 5)
    with pytest.raises(ConfigError, match="3 channels found, 4 expected"):
        linear(x[..., :3], weight, bias)
