"""Forget matrices computed from every token, against plain numpy and against Mamba's own."""

import numpy as np
import pytest
import torch
from scipy.special import erf

from anticipate.nn.mixant import (
    BidirectionalMamba,
    ForgetGateBank,
    MLPForgetGate,
    QueryKeyForgetGate,
)

D, N = 6, 4
TOKENS = torch.randn(2, 5, D, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def made(kind):
    torch.manual_seed(0)
    return kind(D, N).double()


def weights(gate):
    return {name: parameter.detach().numpy() for name, parameter in gate.named_parameters()}


def reference_mlp(get, x):
    hidden = get["mlp.0.weight"] @ x
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    shift = (get["mlp.2.weight"] @ hidden).reshape(D, N)
    return -np.arange(1, N + 1) * np.exp(shift)


def reference_query_key(get, x):
    queries = (get["query.weight"] @ x).reshape(D, 2)
    keys = (get["key.weight"] @ x).reshape(N, 2)
    return -np.exp(get["A_log"] + queries @ keys.T / np.sqrt(2))


@pytest.mark.parametrize(
    ("kind", "reference"),
    [(MLPForgetGate, reference_mlp), (QueryKeyForgetGate, reference_query_key)],
)
def test_every_token_has_the_matrix_of_the_formula(kind, reference):
    gate = made(kind)
    A = gate(TOKENS).detach().numpy()
    assert A.shape == (2, D, N, 5)
    for video, token in np.ndindex(2, 5):
        expected = reference(weights(gate), TOKENS[video, token].numpy())
        np.testing.assert_allclose(A[video, ..., token], expected, rtol=1e-6)


@pytest.mark.parametrize("kind", [MLPForgetGate, QueryKeyForgetGate])
def test_a_silent_token_forgets_as_mamba_does_at_the_start(kind):
    A = made(kind)(torch.zeros_like(TOKENS))
    mamba = made(ForgetGateBank)(TOKENS)
    torch.testing.assert_close(A, mamba[None, :, :, None].expand_as(A))


@pytest.mark.parametrize("kind", [MLPForgetGate, QueryKeyForgetGate])
def test_gradients_of_a_layer_reach_everything_and_are_right(kind):
    torch.manual_seed(0)
    layer = BidirectionalMamba(4, d_state=2, expand=1, forget_gate=kind).double()
    u = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    valid = torch.ones(1, 3, dtype=torch.bool)
    assert torch.autograd.gradcheck(lambda u: layer(u, valid), (u,))
    layer(u, valid).square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name
