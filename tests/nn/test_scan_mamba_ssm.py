"""The mamba_ssm backend against a stand-in for the package that follows its documentation."""

import sys
from types import ModuleType

import pytest
import torch

from anticipate.nn.scan import reference
from anticipate.nn.scan.backends import load
from anticipate.nn.scan.inputs import ScanInputs


class GroupedScan(torch.autograd.Function):
    """`selective_scan_fn` as documented: A (dim, state), B and C (batch, groups, state, length)."""

    @staticmethod
    def forward(ctx, u, delta, A, B, C, D, z, delta_bias, delta_softplus):
        assert A.ndim == 2
        assert all(x.dtype == torch.float32 and x.stride(-1) == 1 for x in (u, delta, A, B, C))
        tensors = (u, delta, A, B, C, D, z, delta_bias)
        ctx.save_for_backward(*tensors)
        ctx.delta_softplus = delta_softplus
        parts = GroupedScan.parts(tensors, delta_softplus)
        return torch.cat([reference.forward(part)[0] for part in parts], dim=1)

    @staticmethod
    def backward(ctx, grad_y):
        parts = GroupedScan.parts(ctx.saved_tensors, ctx.delta_softplus)
        towards = grad_y.chunk(len(parts), dim=1)
        per_group = [
            reference.backward(grad, reference.forward(part)[1], part)
            for grad, part in zip(towards, parts, strict=True)
        ]
        u, delta, A, B, C, D, z, delta_bias = (list(x) for x in zip(*per_group, strict=True))
        join = lambda x, dim: None if x[0] is None else torch.cat(x, dim)  # noqa: E731
        stack = lambda x: torch.stack(x, dim=1)  # noqa: E731
        rest = (join(D, 0), join(z, 1), join(delta_bias, 0), None)
        return join(u, 1), join(delta, 1), join(A, 0), stack(B), stack(C), *rest

    @staticmethod
    def parts(tensors, delta_softplus):
        u, delta, A, B, C, D, z, delta_bias = tensors
        groups = B.shape[1]
        cut = lambda x, dim: [None] * groups if x is None else x.chunk(groups, dim)  # noqa: E731
        columns = (cut(u, 1), cut(delta, 1), cut(A, 0), B.unbind(1), C.unbind(1))
        columns += (cut(D, 0), cut(z, 1), cut(delta_bias, 0))
        return [ScanInputs(*row, delta_softplus) for row in zip(*columns, strict=True)]


@pytest.fixture
def backend(monkeypatch):
    """The backend with the stand-in in place of the package."""
    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")

    def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
        return GroupedScan.apply(u, delta, A, B, C, D, z, delta_bias, delta_softplus)

    interface.selective_scan_fn = selective_scan_fn
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    monkeypatch.delitem(sys.modules, "anticipate.nn.scan.mamba_ssm", raising=False)
    yield load("mamba_ssm", torch.zeros(1, 1, 1), torch.zeros(1, 1))
    sys.modules.pop("anticipate.nn.scan.mamba_ssm")


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_every_sample_gets_its_own_transition(backend, shared, optional, reverse):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    A = -normal(3, 4, 2).exp()
    extras = (normal(4), normal(3, 4, 9), normal(4)) if optional else (None, None, None)
    sequences = (normal(3, 4, 9), normal(3, 9, 4).mT, A[0] if shared else A)
    inputs = ScanInputs(*sequences, normal(3, 2, 9), normal(3, 2, 9), *extras, True, reverse)
    y, starts = backend.forward(inputs)
    expected, kept = reference.forward(inputs)
    torch.testing.assert_close(y, expected)
    direction = normal(*y.shape)
    found = backend.backward(direction, starts, inputs)
    wanted = reference.backward(direction, kept, inputs)
    for grad, reference_grad in zip(found, wanted, strict=True):
        torch.testing.assert_close(grad, reference_grad)
