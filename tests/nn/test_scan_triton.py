"""The Triton kernels: right in Triton's interpreter, and accepted by its compiler for a GPU."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the package triton is not installed")

INTERPRETED = """
import torch
from anticipate.nn.scan import reference, triton
from anticipate.nn.scan.inputs import CHUNK, ScanInputs

def assert_agrees(batch, d_inner, length, d_state, shared, optional, softplus, reverse):
    torch.manual_seed(0)
    A = -torch.randn(batch, d_inner, d_state).exp()
    sequences = torch.randn(batch, length, d_inner).mT, torch.rand(batch, d_inner, length)
    states = torch.randn(batch, length, d_state).mT, torch.randn(batch, d_state, length)
    extras = torch.randn(d_inner), torch.randn(batch, d_inner, length), torch.rand(d_inner)
    extras = extras if optional else (None, None, None)
    A = A[0] if shared else A
    inputs = ScanInputs(*sequences, A, *states, *extras, softplus, reverse)
    exact = inputs.map(torch.Tensor.double)
    (y, starts), (expected, kept) = triton.forward(inputs), reference.forward(exact)
    direction = torch.randn(y.shape)
    found = [y, *triton.backward(direction, starts, inputs)]
    wanted = [expected, *reference.backward(direction.double(), kept, exact)]
    for result, truth in zip(found, wanted, strict=True):
        assert (result is None) == (truth is None)
        if truth is not None:
            torch.testing.assert_close(result.double(), truth, rtol=1e-4, atol=1e-5)

assert_agrees(1, 1, 1, 1, False, False, True, False)
assert_agrees(2, 3, 4, 5, False, True, True, False)
assert_agrees(2, 3, 4, 5, False, True, True, True)
assert_agrees(2, 3, 4, 5, True, False, False, True)
assert_agrees(1, 5, 3, 64, True, True, False, False)
assert_agrees(1, 2, CHUNK + 2, 2, False, True, True, False)
assert_agrees(1, 2, CHUNK + 2, 2, False, False, True, True)
broken = torch.ones(1, 1, 3)
broken[..., 1] = torch.nan
y, _ = triton.forward(ScanInputs(broken, broken, -torch.ones(1, 1), broken, broken))
assert torch.isfinite(y[..., 0]).all() and torch.isnan(y[..., 1:]).all()
"""


@pytest.mark.slow
def test_agrees_with_the_reference_in_the_interpreter():
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr


COMPILED = """
import inspect, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from anticipate.nn.scan.triton_kernels import backward_kernel, forward_kernel

strided = ("*fp32", "i32", "i32", "i32")
constants = dict(SOFTPLUS=True, REVERSE=True, CHUNK=32, CHANNELS=16, STATES=16)
kinds = dict.fromkeys(("D", "delta_bias", "grad_D", "grad_bias"), "*fp32")
kinds |= dict.fromkeys(("d_inner", "d_state", "length"), "i32")
kinds |= dict.fromkeys(constants, "constexpr")
for kernel in (forward_kernel, backward_kernel):
    signature = {name: kinds.get(name, strided) for name in inspect.signature(kernel.fn).parameters}
    source = ASTSource(kernel, signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32), options={"num_warps": 1})
    assert "ex2.approx" in compiled.asm["ptx"]
"""


@pytest.mark.slow
def test_compiles_for_a_gpu(tmp_path):
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    result = subprocess.run(
        [sys.executable, "-c", COMPILED],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
