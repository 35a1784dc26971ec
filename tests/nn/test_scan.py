"""The selective scan against a plain recurrence, and as an operator of torch."""

import logging
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from anticipate.errors import ConfigError
from anticipate.nn.scan import ScanInputs, backends, ops, selective_scan, selective_scan_pair
from anticipate.nn.scan.inputs import CHUNK


def reference_scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus, reverse):
    """The recurrence, one number at a time in spirit: loops over samples and tokens."""
    batch, d_inner, length = u.shape
    y = np.zeros_like(u)
    for b in range(batch):
        h = np.zeros((d_inner, B.shape[1]))
        for step in range(length):
            t = length - 1 - step if reverse else step
            dt = delta[b, :, t] + (0 if delta_bias is None else delta_bias)
            dt = np.log1p(np.exp(dt)) if delta_softplus else dt
            A_t = {2: lambda: A, 3: lambda: A[b], 4: lambda: A[b, :, :, t]}[A.ndim]()  # noqa: B023
            h = np.exp(dt[:, None] * A_t) * h + np.outer(dt * u[b, :, t], B[b, :, t])
            y[b, :, t] = h @ C[b, :, t] + (0 if D is None else D * u[b, :, t])
    return y if z is None else y * z / (1 + np.exp(-z))


def make_inputs(batch, d_inner, length, d_state, A_ndim=3, optional=True, seed=0):
    """Eight float64 tensors of a stable scan."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    A_shape = {2: (d_inner, d_state), 3: (batch, d_inner, d_state)}.get(
        A_ndim, (batch, d_inner, d_state, length)
    )
    sequences = [normal(batch, d_inner, length), normal(batch, d_inner, length)]
    states = [normal(batch, d_state, length), normal(batch, d_state, length)]
    extras = [normal(d_inner), normal(batch, d_inner, length), normal(d_inner)]
    return [*sequences, -normal(*A_shape).exp(), *states, *(extras if optional else [None] * 3)]


def as_numpy(tensors):
    return [None if tensor is None else tensor.numpy() for tensor in tensors]


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    d_inner=st.integers(1, 4),
    length=st.integers(1, CHUNK + 5),
    d_state=st.integers(1, 5),
    A_ndim=st.sampled_from([2, 3, 4]),
    optional=st.booleans(),
    reverse=st.booleans(),
)
def test_reference_is_the_recurrence(batch, d_inner, length, d_state, A_ndim, optional, reverse):
    inputs = make_inputs(batch, d_inner, length, d_state, A_ndim, optional)
    y = selective_scan(*inputs, True, reverse, backend="reference")
    expected = reference_scan(*as_numpy(inputs), True, reverse)
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-10, atol=1e-10)


def test_one_channel_by_hand():
    """dt = 1, A = -ln 2, B = C = 1 halves the state at every token: 1, 1.5, 1.75."""
    ones = torch.ones(1, 1, 3)
    y = selective_scan(ones, ones, torch.full((1, 1), -np.log(2.0)), ones, ones)
    torch.testing.assert_close(y, torch.tensor([[[1.0, 1.5, 1.75]]]))


def test_reverse_is_the_scan_of_the_flipped_sequence():
    inputs = make_inputs(2, 3, 2 * CHUNK + 3, 4, A_ndim=4)
    backwards = selective_scan(*inputs, True, reverse=True)
    sequential = {0, 1, 2, 3, 4, 6}
    flipped = [x.flip(-1) if index in sequential else x for index, x in enumerate(inputs)]
    torch.testing.assert_close(backwards, selective_scan(*flipped, True).flip(-1))


@pytest.mark.parametrize("A_ndim", [2, 3, 4])
@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("reverse", [False, True])
def test_reference_gradients(A_ndim, optional, reverse):
    inputs = [
        None if tensor is None else tensor.requires_grad_()
        for tensor in make_inputs(2, 2, CHUNK + 2, 2, A_ndim, optional)
    ]

    def scan(*tensors):
        return selective_scan(*tensors, optional, reverse, "reference")

    assert torch.autograd.gradcheck(scan, inputs, fast_mode=True)


def test_empty_sequence():
    inputs = [x.requires_grad_() for x in make_inputs(2, 3, 0, 4)]
    y = selective_scan(*inputs, True)
    y.sum().backward()
    assert y.shape == (2, 3, 0)
    assert inputs[2].grad.abs().sum() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_output_and_gradients_keep_the_dtype(dtype, backend):
    exact = make_inputs(2, 3, 5, 4)
    inputs = [x.to(dtype).requires_grad_() for x in exact]
    y = selective_scan(*inputs, True, backend=backend)
    y.sum().backward()
    assert y.dtype == dtype
    assert all(x.grad.dtype == dtype for x in inputs)
    expected = selective_scan(*(x.detach().double() for x in inputs), True)
    torch.testing.assert_close(y.double(), expected, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_channels_of_the_output_are_contiguous(backend):
    inputs = [x.float() for x in make_inputs(2, 3, 5, 4)]
    y = selective_scan(*inputs, backend=backend)
    assert y.mT.is_contiguous()


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("optional", [False, True])
def test_operators_keep_torchs_rules(backend, optional):
    inputs = make_inputs(2, 3, 5, 4, optional=optional)
    inputs = [None if x is None else x.float().requires_grad_() for x in inputs]
    tests = ("test_schema", "test_autograd_registration", "test_faketensor")
    one, other = (*inputs, True, False), (*inputs, True, True)
    torch.library.opcheck(ops.scan, (*one, backend), test_utils=tests)
    torch.library.opcheck(ops.scan_pair, (*one, *other, backend), test_utils=tests)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_gradients_have_the_layout_that_compilers_are_told(backend):
    inputs = [x.float() for x in make_inputs(2, 3, 7, 5)]
    scan = ScanInputs(*inputs, True, False)
    y, starts = ops.scan(*scan, backend)
    operator = torch.ops.anticipate.selective_scan_backward.default
    arguments = (torch.ones_like(y), starts, *scan, backend)
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize("unused", [False, True])
def test_a_pair_is_two_scans(unused):
    inputs = [x.float().requires_grad_() for x in make_inputs(2, 3, 5, 4)]
    scans = [ScanInputs(*inputs, True, reverse) for reverse in (False, True)]
    results = []
    for together in (False, True):
        y, z = selective_scan_pair(scans, together)
        loss = y.square().sum() + (0 if unused else z.sin().sum())
        results.append([y, z, *torch.autograd.grad(loss, inputs)])
    for separate, joint in zip(*results, strict=True):
        torch.testing.assert_close(separate, joint, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_compiled_in_one_graph(reverse):
    inputs = [x.float().requires_grad_() for x in make_inputs(2, 3, 5, 4)]

    def block(*tensors):
        return torch.tanh(selective_scan(*tensors, True, reverse)) * 2

    expected = block(*inputs)
    expected.sum().backward()
    grads = [x.grad.clone() for x in inputs]
    for x in inputs:
        x.grad = None
    compiled = torch.compile(block, fullgraph=True, backend="aot_eager")(*inputs)
    compiled.sum().backward()
    torch.testing.assert_close(compiled, expected)
    for x, grad in zip(inputs, grads, strict=True):
        torch.testing.assert_close(x.grad, grad)


def test_autocast_scans_in_float32():
    inputs = [x.bfloat16().requires_grad_() for x in make_inputs(2, 3, 40, 4)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = selective_scan(*inputs, True)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y, selective_scan(*(x.detach().float() for x in inputs), True))
    y.sum().backward()
    assert all(x.grad.dtype == torch.bfloat16 for x in inputs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_auto_says_once_what_it_chose(dtype, caplog):
    backends._best.cache_clear()
    inputs = [x.to(dtype) for x in make_inputs(1, 2, 3, 2)]
    with caplog.at_level(logging.INFO, logger=backends.logger.name):
        selective_scan(*inputs)
        selective_scan(*inputs)
    (record,) = caplog.records
    assert record.levelname == "INFO"
    assert ("'cpu'" if dtype == torch.float32 else "'reference'") in record.getMessage()


@pytest.fixture
def fresh_choice():
    """No backend has been chosen or given up before."""
    for cached in (backends._best, backends._tell_fallback):
        cached.cache_clear()
    yield
    backends._failed.clear()
    for cached in (backends._best, backends._tell_fallback):
        cached.cache_clear()


def test_auto_without_numba(monkeypatch, fresh_choice, capsys):
    monkeypatch.setattr(backends, "find_spec", lambda name: None if name == "numba" else name)
    for _ in range(2):
        assert backends._best(torch.device("cpu"), torch.float32) == "reference"
    told = capsys.readouterr().err
    assert told.count("in plain PyTorch on cpu") == 1
    assert "'cpu': 'numba' is missing" in told


def test_auto_on_a_device_that_no_kernel_knows(fresh_choice, capsys):
    for _ in range(2):
        assert backends._best(torch.device("mps"), torch.float32) == "reference"
    assert capsys.readouterr().err.count("there is none for this device") == 1


@pytest.mark.parametrize(("found", "expected"), [((9, 0), "triton"), ((6, 1), "reference")])
def test_auto_on_a_gpu(monkeypatch, fresh_choice, capsys, found, expected):
    there = ("triton", "torch")
    monkeypatch.setattr(backends, "find_spec", lambda name: name if name in there else None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: found)
    assert backends._best(torch.device("cuda"), torch.float32) == expected
    told = capsys.readouterr().err
    assert ("it needs compute capability 7.0, this GPU has 6.1" in told) == (found == (6, 1))


def test_a_backend_that_fails_gives_way_to_the_next_and_is_not_tried_again(
    monkeypatch, fresh_choice, capsys
):
    attempts = []

    def fail(inputs):
        attempts.append(inputs)
        raise backends.UnusableError("RuntimeError: no C compiler")

    inputs = [x.float() for x in make_inputs(1, 2, 3, 2)]
    monkeypatch.setattr(backends.load("cpu", *inputs[:2]), "forward", fail)
    expected = selective_scan(*inputs, backend="reference")
    for name in ("auto", "cpu|auto", "auto"):
        assert torch.equal(selective_scan(*inputs, backend=name), expected)
    assert len(attempts) == 1
    assert "'cpu' cannot be used here (RuntimeError: no C compiler)" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"'cpu' does not work here .*: use backend 'auto'"):
        selective_scan(*inputs, backend="cpu")


WRONG_SHAPES = {
    "delta": ((2, 3, 6), "expected (2, 3, 5)"),
    "A": ((4, 4), "expected (3, 4)"),
    "B": ((2, 1, 5), "expected (2, 4, 5)"),
    "C": ((1, 4, 5), "expected (2, 4, 5)"),
    "D": ((4,), "expected (3,)"),
    "z": ((2, 5, 3), "expected (2, 3, 5)"),
    "delta_bias": ((3, 1), "expected (3,)"),
}


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_wrong_shapes_are_named(name):
    names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
    inputs = dict(zip(names, make_inputs(2, 3, 5, 4, A_ndim=2), strict=True))
    shape, expected = WRONG_SHAPES[name]
    inputs[name] = torch.zeros(shape)
    with pytest.raises(ConfigError) as error:
        selective_scan(**inputs)
    assert f"got {name} of shape {shape}" in str(error.value)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_wrong_number_of_axes():
    inputs = make_inputs(2, 3, 5, 4)
    with pytest.raises(ConfigError, match=r"got u \(3, 5\) and A \(2, 3, 4\): expected u \(batch"):
        selective_scan(inputs[0][0], *inputs[1:])


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64])
def test_numbers_that_are_no_real_floats_are_refused(dtype):
    inputs = make_inputs(2, 3, 5, 4)
    with pytest.raises(ConfigError, match=f"got u of type {dtype}"):
        selective_scan(inputs[0].to(dtype), *inputs[1:])


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_forward_mode_is_refused_instead_of_answered_with_zero(backend):
    u, *others = (x.float() for x in make_inputs(1, 2, 3, 2, 3))
    with pytest.raises(ConfigError, match="no forward-mode derivative"):
        torch.func.jvp(lambda u: selective_scan(u, *others, backend=backend), (u,), (u,))


def test_unknown_backend():
    with pytest.raises(ConfigError, match="unknown scan backend 'gpu': choose from auto, cpu"):
        selective_scan(*make_inputs(1, 1, 1, 1), backend="gpu")


@pytest.mark.parametrize(
    ("backend", "dtype", "A_ndim", "what"),
    [
        ("cpu", torch.float64, 3, "float64 tensors"),
        ("cpu", torch.float32, 4, "A that changes with the token"),
        ("triton", torch.float32, 3, "tensors on cpu"),
        ("mamba_ssm", torch.float32, 3, "tensors on cpu"),
    ],
)
def test_backends_refuse_what_they_cannot_run(backend, dtype, A_ndim, what):
    inputs = [x.to(dtype) for x in make_inputs(1, 2, 3, 2, A_ndim)]
    with pytest.raises(ConfigError, match=f"'{backend}' cannot run {what}: use backend 'auto'"):
        selective_scan(*inputs, backend=backend)


@pytest.mark.skipif(find_spec("mamba_ssm") is not None, reason="the package mamba_ssm is here")
def test_missing_package_is_an_error_with_the_install_line():
    u, A = torch.zeros(1, 1, 1), torch.zeros(1, 1)
    with pytest.raises(ConfigError, match=r"pip install 'anticipate\[cuda\]'"):
        backends.load("mamba_ssm", u, A)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
def test_keeps_no_state_per_token(backend):
    """Saved for backward: the inputs and one state per chunk of tokens."""
    inputs = [x.float().requires_grad_() for x in make_inputs(2, 4, 4 * CHUNK, 8)]
    saved = []

    def pack(tensor):
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        selective_scan(*inputs, True, backend=backend)
    states = 2 * 4 * 8 * 4
    assert sorted(saved) == sorted([states, *(x.numel() for x in inputs)])


def test_a_network_takes_another_backend_where_its_own_is_missing_and_says_so_once(capsys):
    """A run trained with mamba_ssm on a GPU is loaded where there is neither."""
    backends._tell_fallback.cache_clear()
    inputs = [x.float() for x in make_inputs(1, 2, 3, 2)]
    name = backends.network_backend("mamba_ssm")
    ys = [selective_scan(*inputs, backend=name) for _ in range(2)]
    assert torch.equal(ys[0], selective_scan(*inputs))
    assert capsys.readouterr().err.count("scan backend 'mamba_ssm' cannot be used here") == 1


def test_the_environment_wins_over_the_setting_of_a_network(monkeypatch):
    monkeypatch.setenv("ANTICIPATE_SCAN_BACKEND", "reference")
    assert backends.network_backend("cpu") == "reference|auto"
    monkeypatch.setenv("ANTICIPATE_SCAN_BACKEND", "gpu")
    with pytest.raises(ConfigError, match="unknown scan backend 'gpu': choose from auto, cpu"):
        backends.network_backend("cpu")


def test_importing_the_scan_loads_no_backend():
    loaded = (
        "import sys, anticipate.nn.scan; print(*{'numba', 'triton', 'mamba_ssm'} & {*sys.modules})"
    )
    result = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == []
