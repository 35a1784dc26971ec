"""What can only be checked on a GPU: kernels, graphs, training, averaging, mixed precision.

`make gpu-check` runs this folder alone, with the Python that is there. ANTICIPATE_GPU_CHECK=cpu
rehearses it on the CPU: kernels in Triton's interpreter, no graphs.
"""

import contextlib
import os

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from anticipate.models import DiffusionAnticipator
from anticipate.models.averaging import WarmUpEMA
from anticipate.nn import AGA, MixANT
from anticipate.nn.cuda_graphs import GraphedDenoiser, GraphedTraining
from anticipate.nn.scan import reference, selective_scan, selective_scan_pair
from anticipate.nn.scan.backends import load
from anticipate.nn.scan.inputs import ScanInputs
from anticipate.types import DenseBatch

DEVICE = os.environ.get("ANTICIPATE_GPU_CHECK", "cuda")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        DEVICE == "cuda" and not torch.cuda.is_available(), reason="there is no CUDA device"
    ),
]
REHEARSAL = DEVICE == "cpu"
CLASSES, FEATURES = 6, 5
SHAPES = [(1, 1, 1, 1), (2, 5, 17, 3), (1, 3, 9, 64)]
if not REHEARSAL:
    SHAPES += [(3, 128, 490, 16), (2, 40, 701, 16), (2, 128, 33, 32), (1, 7, 2270, 8)]


@pytest.fixture(autouse=True)
def _exact_products():
    """Products in float32 proper, whatever the machine prefers."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


def make_scan(shape, shared, optional, reverse, dtype=torch.float32):
    batch, d_inner, length, d_state = shape
    generator = torch.Generator().manual_seed(sum(shape))

    def normal(*sizes):
        return torch.randn(*sizes, generator=generator)

    A = -normal(*(() if shared else (batch,)), d_inner, d_state).exp()
    sequences = normal(batch, length, d_inner).mT, normal(batch, d_inner, length) - 1
    states = normal(batch, length, d_state).mT, normal(batch, d_state, length)
    extras = (normal(d_inner), normal(batch, d_inner, length), normal(d_inner))
    inputs = ScanInputs(
        *sequences, A, *states, *(extras if optional else (None,) * 3), True, reverse
    )
    return inputs.map(lambda tensor: tensor.to(DEVICE, dtype))


def assert_near(found, expected, tolerance):
    """Compare by the largest value: sums of many terms are no better than that."""
    expected = expected.detach().double().cpu()
    distance = (found.detach().double().cpu() - expected).abs().max() if expected.numel() else 0.0
    assert float(distance) <= tolerance * max(1.0, float(expected.abs().max()))


@pytest.mark.parametrize("backend", ["triton", "mamba_ssm"])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("shared", "optional"), [(False, True), (True, False)])
@pytest.mark.parametrize("shape", SHAPES)
def test_scans_agree_with_the_reference(backend, shape, shared, optional, reverse):
    pytest.importorskip(backend, reason=f"the package {backend} is not installed")
    inputs = make_scan(shape, shared, optional, reverse)
    exact = inputs.map(lambda tensor: tensor.double().cpu())
    kernels = load(backend, inputs.u, inputs.A)
    (y, starts), (expected, kept) = kernels.forward(inputs), reference.forward(exact)
    assert_near(y, expected, 1e-4)
    direction = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    grads = kernels.backward(direction.to(DEVICE), starts, inputs)
    for grad, truth in zip(grads, reference.backward(direction.double(), kept, exact), strict=True):
        assert (grad is None) == (truth is None)
        if grad is not None:
            assert_near(grad, truth, 1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scans_of_half_precision_have_a_float32_state(dtype):
    inputs = make_scan(SHAPES[1], False, True, False, dtype)
    exact = inputs.map(lambda tensor: tensor.double().cpu())
    y, _ = load("triton", inputs.u, inputs.A).forward(inputs)
    assert y.dtype == dtype
    assert_near(y, reference.forward(exact)[0], 2 * torch.finfo(dtype).eps)


def test_two_directions_in_one_launch_are_two_launches():
    scans = [make_scan(SHAPES[-1], False, True, reverse) for reverse in (False, True)]
    scans = [x.map(lambda tensor: tensor.requires_grad_()) for x in scans]
    results = []
    for together in (False, True):
        ys = selective_scan_pair(scans, together)
        tensors = [x for scan in scans for x in scan.tensors()]
        loss = ys[0].square().sum() + ys[1].sin().sum()
        results.append([*ys, *torch.autograd.grad(loss, tensors)])
    for separate, joint in zip(*results, strict=True):
        assert_near(joint, separate, 1e-5)


def test_auto_is_a_kernel():
    inputs = make_scan(SHAPES[1], False, True, False)
    expected = selective_scan(*inputs, backend="reference")
    assert_near(selective_scan(*inputs), expected, 1e-4)


def make_network():
    torch.manual_seed(0)
    network = MixANT(CLASSES, FEATURES, d_model=16, num_layers=3, num_static_layers=1)
    for name, parameter in network.named_parameters():
        if name.endswith("layer_scale"):
            torch.nn.init.ones_(parameter)
    return network.to(DEVICE)


def make_batch(tokens, batch=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.tensor([tokens, *[max(4, tokens - 5)] * (batch - 1)])
    valid = torch.arange(tokens) < lengths[:, None]
    return DenseBatch(
        features=torch.randn(batch, 4, FEATURES, generator=generator),
        targets=torch.randint(CLASSES, (batch, tokens), generator=generator),
        observed=(torch.arange(tokens) < 4).expand(batch, -1),
        valid=valid,
        frame_targets=torch.zeros(batch, 0, dtype=torch.int64),
        num_frames=lengths * 3,
        obs_ratios=(0.2,) * batch,
        video_ids=tuple(f"v{row}" for row in range(batch)),
    )


def moved(batch, device=DEVICE):
    return DenseBatch(*(x.to(device) if isinstance(x, torch.Tensor) else x for x in batch))


def network_inputs(network, tokens):
    batch = moved(make_batch(tokens))
    generator = torch.Generator().manual_seed(tokens)
    x_t = torch.randn(*batch.valid.shape, CLASSES, generator=generator).to(DEVICE)
    t = torch.tensor([5, 400, 900], device=DEVICE)
    condition = network.encode(batch.features, batch.observed)
    return x_t, t, condition, batch.observed, batch.valid, x_t / 2


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_replays_are_what_the_network_computes(gradients, compiled):
    """Lengths in turns, as graphs share their memory; the weights change in between."""
    network, same = make_network(), make_network()
    graphed = GraphedDenoiser(same)
    if compiled:
        graphed._calls_to_compile = 5
    for turn in range(4):
        for tokens in (19, 33, 20):  # 19 and 20 share a graph
            results = []
            for weights, call in ((network, network), (same, graphed)):
                weights.zero_grad()
                with torch.set_grad_enabled(gradients):
                    output = call(*network_inputs(weights, tokens))
                if gradients:
                    output.x_0.square().mean().backward()
                grads = [x.grad.clone() for x in weights.parameters() if x.grad is not None]
                results.append([output.x_0.detach().clone(), output.gamma.detach().clone(), *grads])
                del output  # nothing may be captured while a graph of autograd is alive
            for eager, replayed in zip(*results, strict=True):
                assert_near(replayed, eager, 1e-4)
        for weights in (network, same):
            with torch.no_grad():
                weights.head.bias.add_(0.1 * turn)
    assert not graphed._obstacles
    assert REHEARSAL or len(graphed._graphs) == 2
    assert all((x._compiled_call_impl is not None) == compiled for x in same.blocks) or REHEARSAL


def make_model(**settings):
    return DiffusionAnticipator(
        CLASSES, FEATURES, 3, denoiser=lambda c, f: make_network().cpu(), **settings
    )


def test_a_gradient_on_the_gpu_is_that_of_the_cpu():
    results = []
    for device in ("cpu", DEVICE):
        network = make_network().to(device)
        arguments = [x.detach().to(device) for x in network_inputs(make_network(), 21)]
        network(*arguments).x_0.square().mean().backward()
        results.append([x.grad for x in network.parameters() if x.grad is not None])
    for cpu, gpu in zip(*results, strict=True):
        assert_near(gpu, cpu, 1e-4)


def test_aga_on_the_gpu_is_that_of_the_cpu():
    torch.manual_seed(0)
    features, network = torch.randn(3, 7, 12), AGA(5, 12, hidden_dim=16).eval()
    expected = network(features)
    assert_near(network.to(DEVICE)(features.to(DEVICE)), expected, 1e-4)


def test_aga_by_graphs_is_aga_without():
    """With dropout, which draws the same numbers."""
    torch.manual_seed(0)
    features = torch.randn(3, 7, 12).to(DEVICE)
    network = AGA(5, 12, hidden_dim=16, dropout=0.3).to(DEVICE)
    graphed = GraphedTraining(network)
    for step in range(4):
        results = []
        for call in (network, graphed):
            torch.manual_seed(step)
            network.zero_grad()
            logits = call(features)
            logits.square().mean().backward()
            grads = [x.grad.clone() for x in network.parameters() if x.grad is not None]
            results.append([logits.detach().clone(), *grads])
            del logits
        for eager, replayed in zip(*results, strict=True):
            assert_near(replayed, eager, 1e-4)
    assert not graphed._obstacles
    assert REHEARSAL or len(graphed._graphs) == 1


def test_futures_start_from_the_same_noise_on_every_device():
    batch = make_batch(23)
    model = make_model(num_samples=4, num_inference_steps=5).eval()
    expected = model.forecast(batch).preds
    found = model.to(DEVICE).forecast(moved(batch)).preds.cpu()
    assert (found == expected).double().mean() > 0.99


@contextlib.contextmanager
def no_waiting():
    """Raise where the program waits for the device."""
    if DEVICE == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if DEVICE == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def fit(tmp_path, model, tokens=(23, 31, 23), epochs=4, callbacks=(), **settings):
    batches = [make_batch(length, seed=seed) for seed, length in enumerate(tokens)]
    trainer = pl.Trainer(
        accelerator="cpu" if REHEARSAL else "gpu",
        devices=1,
        max_epochs=epochs,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        **settings,
    )
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return trainer


class Quiet(DiffusionAnticipator):
    """Training steps that must not wait for the device, once kernels are compiled."""

    def training_step(self, batch):
        with no_waiting() if self.trainer.current_epoch else contextlib.nullcontext():
            return super().training_step(batch)


def test_training_steps_do_not_wait_for_the_device(tmp_path):
    settings = {"accelerate": "none", "denoiser": lambda c, f: make_network().cpu()}
    fit(tmp_path, Quiet(CLASSES, FEATURES, 3, **settings), epochs=2)


def test_training_by_graphs_is_training_without(tmp_path):
    weights = []
    for accelerate in ("none", "auto"):
        model = make_model(accelerate=accelerate, ema_decay=None)
        fit(tmp_path, model)
        assert not model.graphed._obstacles
        assert REHEARSAL or bool(model.graphed._graphs) == (accelerate == "auto")
        weights.append([x.detach().cpu() for x in model.parameters()])
    for eager, replayed in zip(*weights, strict=True):
        assert_near(replayed, eager, 1e-3)


class Recorder(pl.Callback):
    """The weights after every step."""

    def __init__(self):
        self.weights = []

    def on_train_batch_end(self, trainer, pl_module, *arguments):
        self.weights.append([x.detach().clone() for x in pl_module.denoiser.parameters()])


def test_averaged_weights_follow_the_rule(tmp_path):
    recorder = Recorder()
    average = WarmUpEMA(beta=0.5, update_every=2, update_after=2)
    model = make_model(ema_decay=None)
    fit(tmp_path, model, callbacks=[recorder, average])
    expected = recorder.weights[1]
    for step in range(4, len(recorder.weights) + 1, 2):
        decay, now = average.decay(step), recorder.weights[step - 1]
        expected = [decay * a + (1 - decay) * x for a, x in zip(expected, now, strict=True)]
    for found, truth in zip(model.denoiser.parameters(), expected, strict=True):
        assert_near(found.detach(), truth, 1e-5)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_trains(tmp_path, precision):
    if REHEARSAL and precision == "16-mixed":
        pytest.skip("16-mixed is for GPUs")
    before = [x.detach().clone() for x in make_network().cpu().parameters()]
    model = make_model(ema_decay=None)
    fit(tmp_path, model, precision=precision)
    after = [x.detach().cpu() for x in model.denoiser.parameters()]
    assert all(x.dtype == torch.float32 and torch.isfinite(x).all() for x in after)
    assert any(not torch.equal(x, y) for x, y in zip(before, after, strict=True))
