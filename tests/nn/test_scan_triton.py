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

def assert_equal_pair():
    # Two directions in one launch are two launches.
    torch.manual_seed(0)
    tensors = [torch.randn(2, 3, 5), torch.rand(2, 3, 5), -torch.rand(2, 3, 2)]
    tensors += [torch.randn(2, 2, 5) for _ in range(2)]
    one = ScanInputs(*tensors, D=torch.randn(3), delta_softplus=True)
    other = one.map(lambda x: x.flip(0) if x.ndim == 3 else 2 * x)._replace(reverse=True)
    assert triton.can_go_together(one, other) and not triton.can_go_together(one, one)
    direction, alone, grads = torch.randn(2, 3, 5), [], []
    for x in (one, other):
        alone.append(triton.forward(x))
        grads.append(triton.backward(direction, alone[-1][1], x))
    together = triton.forward_together([one, other])
    starts = [starts for _, starts in together]
    found = triton.backward_together([direction] * 2, starts, [one, other])
    for expected, result in zip(alone + grads, [*together, *found], strict=True):
        for left, right in zip(expected, result, strict=True):
            assert (left is None) == (right is None)
            assert left is None or torch.equal(left, right)

def assert_pairs_give_way():
    # Where two scans fail together, each runs alone, from then on.
    launch, x = triton._launch, torch.ones(1, 2, 3)
    one = ScanInputs(x, x, -torch.ones(2, 2), torch.ones(1, 2, 3), torch.ones(1, 2, 3))

    def without_room(kernel, scans, *arguments, **settings):
        if len(scans) > 1:
            raise RuntimeError("no room")
        launch(kernel, scans, *arguments, **settings)

    triton._launch = without_room
    (y, _), _ = triton.forward_together([one, one._replace(reverse=True)])
    assert torch.equal(y, triton.forward(one)[0])
    assert not triton.can_go_together(one, one._replace(reverse=True))
    triton._launch = launch

assert_equal_pair()
more = triton.FORWARD.tokens + 1
assert_agrees(1, 1, 1, 1, False, False, True, False)
assert_agrees(2, 3, more, 5, False, True, True, False)
assert_agrees(1, 3, more, 5, False, True, False, True)
assert_agrees(2, 3, 4, 5, True, False, True, True)
assert_agrees(1, 5, 9, 16, False, False, True, True)
assert_agrees(1, 2, 3, 64, True, True, False, False)
assert_agrees(1, 2, 0, 2, False, True, True, False)
for dtype in (torch.bfloat16, torch.float16):
    assert_agrees(1, 3, 4, 2, False, True, True, False, dtype)
broken = torch.ones(1, 1, 3)
broken[..., 1] = torch.nan
y, _ = triton.forward(ScanInputs(broken, broken, -torch.ones(1, 1), broken, broken))
assert torch.isfinite(y[..., 0]).all() and torch.isnan(y[..., 1:]).all()
assert_pairs_give_way()
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
tensor, partial = ("*fp32", *["i32"] * 3), ("*fp32", *["i32"] * 4)
one = [tensor] * 5 + ["*fp32", "constexpr", "*fp32"] + [tensor] * 2
grads = [tensor] * 3 + [partial] * 2 + ["*fp32", tensor, "*fp32"]
for kernel, block, arguments in (
    (forward_kernel, backend.FORWARD, one), (backward_kernel, backend.BACKWARD, one + grads)
):
    constants = backend.options(layer, block, PAIR) | {"CHUNK": backend.CHUNK}
    names = list(inspect.signature(kernel.fn).parameters)
    signature = dict.fromkeys(names, "i32") | dict.fromkeys(names[:2], tuple(arguments))
    signature |= {name: "constexpr" for name in names if name in constants}
    constants = {(names.index(n),): v for n, v in constants.items() if n in names}
    constants |= {(scan, arguments.index("constexpr")): None for scan in (0, 1)}
    source = ASTSource(kernel, signature, constexprs=constants)
    target = GPUTarget("cuda", CAPABILITY, 32)
    compiled = triton.compile(source, target=target, options={"num_warps": 1})
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(compiled.asm["cubin"])
        file.flush()
        subprocess.run([usage, "-res-usage", file.name], check=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("capability", "pair"), [("80", False), ("90", True)])
def test_compiles_for_a_gpu_without_spills(tmp_path, capability, pair):
    """All that a program holds is in registers: neither stack nor local memory."""
    variables = {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    program = f"CAPABILITY, PAIR = {capability}, {pair}{COMPILED}"
    found = re.findall(r"REG:(\d+) STACK:(\d+) .*?LOCAL:(\d+)", run(program, **variables))
    assert len(found) == 2
    for registers, stack, local in found:
        assert int(registers) <= 255
        assert (stack, local) == ("0", "0")
