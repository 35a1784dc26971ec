"""The compiled forms against the plain ones in float64, and the plain ones against torch."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.nn.fused import causal_conv_silu, gated_sum, plain_conv_silu, plain_gated_sum

TOLERANCE = 1e-5
WIDTHS = st.sampled_from([1, 15, 16, 17, 40, 64, 130])


def make_conv(batch, tokens, d_inner, d_conv, dtype=torch.float32):
    """x as one half of a wider tensor, as a projection leaves it, and a mask with holes."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((batch, tokens, 2 * d_inner), (d_inner, d_conv), (d_inner,))
    x, weight, bias = (torch.randn(*size, generator=generator, dtype=dtype) for size in sizes)
    mask = (torch.rand(batch, tokens, generator=generator) < 0.7).to(dtype)
    return [x[..., :d_inner], weight, bias], mask


def make_gate(batch, tokens, d_inner, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, tokens, d_inner, generator=generator, dtype=dtype) for _ in range(3)]


def run(function, tensors, *settings):
    """Return the output and all gradients for a fixed direction."""
    leaves = [tensor.detach().requires_grad_() for tensor in tensors]
    y = function(*leaves, *settings)
    y.backward(torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype))
    return [y.detach(), *(leaf.grad for leaf in leaves)]


def assert_close(results, expected):
    for found, wanted in zip(results, expected, strict=True):
        scale = wanted.abs().max().clamp_min(1)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() <= TOLERANCE * scale


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(1, 9),
    d_inner=WIDTHS,
    d_conv=st.integers(1, 5),
    reverse=st.booleans(),
)
def test_compiled_convolution_is_the_plain_one(batch, tokens, d_inner, d_conv, reverse):
    tensors, mask = make_conv(batch, tokens, d_inner, d_conv)
    expected = run(plain_conv_silu, [x.double() for x in tensors], mask.double(), reverse)
    assert_close(run(causal_conv_silu, tensors, mask, reverse), expected)


@settings(max_examples=30, deadline=None)
@given(batch=st.integers(1, 3), tokens=st.integers(1, 9), d_inner=WIDTHS)
def test_compiled_gate_is_the_plain_one(batch, tokens, d_inner):
    tensors = make_gate(batch, tokens, d_inner)
    expected = run(plain_gated_sum, [x.double() for x in tensors])
    assert_close(run(gated_sum, tensors), expected)


def test_convolution_matches_torch_and_sees_no_later_token():
    (x, weight, bias), _ = make_conv(2, 7, 5, 3, torch.float64)
    conv = F.conv1d(x.mT, weight.unsqueeze(1), bias, padding=2, groups=5)[..., :7].mT
    y = causal_conv_silu(x, weight, bias, torch.ones_like(x[..., 0]))
    torch.testing.assert_close(y, F.silu(conv))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_reversed_convolution_flips_time(dtype):
    (x, weight, bias), mask = make_conv(2, 7, 16, 3, dtype)
    flipped = causal_conv_silu(x.flip(1), weight, bias, mask.flip(1)).flip(1)
    torch.testing.assert_close(causal_conv_silu(x, weight, bias, mask, reverse=True), flipped)


@pytest.mark.parametrize("reverse", [False, True])
def test_gradients_of_the_plain_forms(reverse):
    tensors, mask = make_conv(2, 4, 3, 3, torch.float64)
    leaves = [x.requires_grad_() for x in tensors]
    assert torch.autograd.gradcheck(lambda *x: causal_conv_silu(*x, mask, reverse), leaves)
    gate = [x.requires_grad_() for x in make_gate(2, 4, 3, torch.float64)]
    assert torch.autograd.gradcheck(gated_sum, gate)


def test_masked_tokens_are_exactly_zero():
    tensors, mask = make_conv(2, 9, 32, 3)
    y = causal_conv_silu(*tensors, mask)
    assert torch.equal(y.abs().sum(-1) > 0, mask > 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_passes_through(value):
    (x, weight, bias), mask = make_conv(1, 5, 16, 3)
    x[0, 2, 3] = value
    y = causal_conv_silu(x, weight, bias, torch.ones_like(mask))
    plain = plain_conv_silu(x, weight, bias, torch.ones_like(mask), False)
    assert torch.equal(y.isfinite(), plain.isfinite())
    z = make_gate(1, 5, 16)
    z[1][0, 2, 3] = value
    assert torch.equal(gated_sum(*z).isfinite(), plain_gated_sum(*z).isfinite())


def test_operators_fulfil_their_contracts_with_torch():
    tensors, mask = make_conv(2, 5, 17, 3)
    leaves = [x.requires_grad_() for x in tensors]
    torch.library.opcheck(torch.ops.anticipate.causal_conv_silu, (*leaves, mask, True))
    gate = tuple(x.requires_grad_() for x in make_gate(2, 5, 17))
    torch.library.opcheck(torch.ops.anticipate.gated_sum, gate)


def test_autocast_computes_in_float32():
    tensors, mask = make_conv(2, 5, 16, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y = causal_conv_silu(*(x.bfloat16() for x in tensors), mask)
        gate = gated_sum(*(x.bfloat16() for x in make_gate(2, 5, 16)))
    assert y.dtype == gate.dtype == torch.float32


def test_one_graph_under_the_compiler():
    tensors, mask = make_conv(2, 5, 17, 3)

    # The checks of annotations, which only tests switch on, are no code for the compiler.
    @torch.compile(fullgraph=True, backend="aot_eager")
    def layer(x, weight, bias):
        x = torch.ops.anticipate.causal_conv_silu(x, weight, bias, mask, False)
        return torch.ops.anticipate.gated_sum(x, x, x)

    def plain(x, weight, bias):
        x = plain_conv_silu(x, weight, bias, mask, False)
        return plain_gated_sum(x, x, x)

    assert_close(run(layer, tensors), run(plain, tensors))
