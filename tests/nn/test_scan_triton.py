"""The Triton kernels: right in Triton's interpreter, and compiled for GPUs without spills."""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("triton", reason="the package triton is not installed")

INTERPRETED = """
import torch
from anticipate.nn.scan import reference, triton
from anticipate.nn.scan.inputs import ScanInputs

def assert_agrees(
    batch, d_inner, length, d_state, shared, optional, softplus, reverse, dtype=torch.float32
):
    torch.manual_seed(0)
    A = -torch.randn(batch, d_inner, d_state).exp()
    sequences = torch.randn(batch, length, d_inner).mT, torch.rand(batch, d_inner, length)
    states = torch.randn(batch, length, d_state).mT, torch.randn(batch, d_state, length)
    extras = torch.randn(d_inner), torch.randn(batch, d_inner, length), torch.rand(d_inner)
    extras = extras if optional else (None, None, None)
    A = A[0] if shared else A
    inputs = ScanInputs(*sequences, A, *states, *extras, softplus, reverse)
    inputs = inputs.map(lambda tensor: tensor.to(dtype))
    exact = inputs.map(torch.Tensor.double)
    (y, starts), (expected, kept) = triton.forward(inputs), reference.forward(exact)
    direction = torch.randn(y.shape).to(dtype)
    found = [y, *triton.backward(direction, starts, inputs)]
    wanted = [expected, *reference.backward(direction.double(), kept, exact)]
    tolerance = {"rtol": 1e-4, "atol": 1e-5}
    if dtype != torch.float32:
        tolerance = {"rtol": torch.finfo(dtype).eps, "atol": 1e-2}
    for result, truth, tensor in zip(found, wanted, [inputs.u, *inputs.tensors()], strict=True):
        assert (result is None) == (tensor is None)
        if tensor is not None:
            assert result.dtype == dtype and result.shape == tensor.shape
            torch.testing.assert_close(result.double(), truth, **tolerance)
    assert starts.dtype == torch.float32

more = triton.FORWARD.tokens + 1
assert_agrees(1, 1, 1, 1, False, False, True, False)
assert_agrees(2, 3, more, 5, False, True, True, False)
assert_agrees(1, 3, more, 5, False, True, False, True)
assert_agrees(2, 3, 4, 5, True, False, True, True)
assert_agrees(1, 5, 9, 16, False, False, True, True)
assert_agrees(1, 2, 3, 64, True, True, False, False)
assert_agrees(1, 2, 0, 2, False, True, True, False)
for dtype in (torch.bfloat16, torch.float16):
    assert_agrees(1, 3, more, 2, False, True, True, False, dtype)
broken = torch.ones(1, 1, 3)
broken[..., 1] = torch.nan
y, _ = triton.forward(ScanInputs(broken, broken, -torch.ones(1, 1), broken, broken))
assert torch.isfinite(y[..., 0]).all() and torch.isnan(y[..., 1:]).all()
"""


def run(program: str, **variables: str) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    command = [sys.executable, "-W", "ignore", "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.slow
def test_agrees_with_the_reference_in_the_interpreter():
    run(INTERPRETED, TRITON_INTERPRET="1")


COMPILED = """
import inspect, pathlib, subprocess, tempfile, torch, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from anticipate.nn.scan import triton as backend
from anticipate.nn.scan.inputs import ScanInputs
from anticipate.nn.scan.triton_kernels import backward_kernel, forward_kernel

x = torch.empty(1, 128, 1)
state = torch.empty(1, 16, 1)
layer = ScanInputs(x, x, torch.empty(128, 16), state, state, delta_softplus=True)
usage = pathlib.Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
absent = {"z": None, "grad_z": None}
kinds = dict.fromkeys(("D", "delta_bias", "grad_D", "grad_bias"), "*fp32")
kinds |= dict.fromkeys(("d_inner", "d_state", "length"), "i32")
kinds |= dict.fromkeys(("grad_B", "grad_C"), ("*fp32", *["i32"] * 4))
for kernel, block in ((forward_kernel, backend.FORWARD), (backward_kernel, backend.BACKWARD)):
    constants = backend.options(layer, block) | absent | {"CHUNK": backend.CHUNK}
    names = inspect.signature(kernel.fn).parameters
    constants = {name: value for name, value in constants.items() if name in names}
    types = kinds | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, ("*fp32", "i32", "i32", "i32")) for name in names}
    source = ASTSource(kernel, signature, constexprs=constants)
    target = GPUTarget("cuda", CAPABILITY, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": 1})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        subprocess.run([usage, "-res-usage", file.name], check=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["80", "90"])
def test_compiles_for_a_gpu_without_spills(tmp_path, capability):
    """All that a program holds is in registers: neither stack nor local memory."""
    variables = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    program = f"CAPABILITY = {capability}{COMPILED}"
    found = re.findall(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", run(program, **variables))
    assert len(found) == 2
    for registers, stack, local in found:
        assert int(registers) <= 255
        assert (stack, local) == ("0", "0")
