"""When a denoiser runs by graphs, and that padding for them changes nothing; without a GPU.

Capturing itself is replaced here; `tests/gpu` compares real replays.
"""

import copy

import pytest
import torch

from anticipate.nn import AGA, MixANT, cuda_graphs
from anticipate.nn.cuda_graphs import GraphedDenoiser, GraphedTraining, rounded

SIZES = {"d_model": 8, "num_layers": 2, "num_static_layers": 1, "num_experts": 2, "d_state": 4}
TOKENS = 9


@pytest.fixture
def network():
    torch.manual_seed(0)
    network = MixANT(3, 5, **SIZES)
    for name, parameter in network.named_parameters():
        if name.endswith("layer_scale"):
            torch.nn.init.ones_(parameter)
    return network


def make_inputs(network, tokens=TOKENS, batch=2):
    generator = torch.Generator().manual_seed(0)
    x_t = torch.randn(batch, tokens, 3, generator=generator)
    features = torch.randn(batch, 4, 5, generator=generator)
    observed = torch.arange(tokens).expand(batch, -1) < 4
    valid = torch.arange(tokens) < torch.tensor([[tokens], [tokens - 2]])
    t = torch.tensor([10, 700])
    return x_t, t, network.encode(features, observed), observed, valid, x_t / 2


@pytest.fixture
def captured(monkeypatch):
    """Graphs for CPU tensors, whose replays call the network; the lengths they are made for."""
    lengths = []

    def capture(denoiser, inputs, pool):
        lengths.append(inputs[0].shape[1])
        shapes = [x.shape for x in inputs]

        def replay(*fresh):
            assert [x.shape for x in fresh] == shapes
            return denoiser.forward(*fresh)

        return replay

    for name in ("capture_sampling", "capture_training"):
        monkeypatch.setattr(cuda_graphs, name, capture)
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: "pool")
    monkeypatch.setattr(cuda_graphs.Graphed, "DEVICE", "cpu")
    return lengths


def test_lengths_are_few_and_a_little_longer():
    lengths = [rounded(tokens) for tokens in range(1, 4097)]
    assert all(tokens <= size <= 1.25 * tokens for tokens, size in enumerate(lengths, 1))
    assert len(set(lengths)) < 50
    assert [rounded(size) for size in lengths] == lengths


def test_padding_for_a_graph_changes_neither_estimates_nor_gradients(network, captured):
    results = []
    for accelerate in ("none", "auto"):
        graphed = GraphedDenoiser(network, accelerate)
        for _ in range(2):  # the second time by a graph
            network.zero_grad()
            output = graphed(*make_inputs(network))
            (output.x_0.square().mean() + output.gamma.square().sum()).backward()
        grads = [x.grad.clone() for x in network.parameters() if x.grad is not None]
        results.append([output.x_0.detach(), output.gamma.detach(), *grads])
    assert captured == [10]
    for eager, replayed in zip(*results, strict=True):
        torch.testing.assert_close(replayed, eager, rtol=1e-4, atol=1e-6)


def test_a_shape_is_captured_when_it_comes_a_second_time(network, captured):
    graphed = GraphedDenoiser(network)
    with torch.no_grad():
        for tokens in (9, 9, 10, 17, 9):
            graphed(*make_inputs(network, tokens))
        assert captured == [10]
        graphed(*make_inputs(network)[:5])
        assert captured == [10]
        graphed(*make_inputs(network)[:5])
    assert captured == [10, 10]
    for _ in range(2):
        graphed(*make_inputs(network))
    assert captured == [10, 10, 10]


def test_graphs_of_weights_that_have_moved_are_forgotten(network, captured):
    graphed = GraphedDenoiser(network)
    for _ in range(3):
        graphed(*make_inputs(network))
    assert captured == [10]
    network.head.bias.data = network.head.bias.data.clone()
    graphed(*make_inputs(network))
    assert captured == [10, 10]


def test_only_so_many_graphs_are_kept(network, captured, monkeypatch):
    monkeypatch.setattr(cuda_graphs, "MOST_GRAPHS", 2)
    graphed = GraphedDenoiser(network)
    for tokens in (9, 17, 33, 33, 9):
        for _ in range(2):
            graphed(*make_inputs(network, tokens))
    assert captured == [10, 20, 40, 10]


def test_what_cannot_be_captured_runs_as_it_is_and_is_told_once(
    network, captured, monkeypatch, capsys
):
    def capture(denoiser, inputs, pool):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    monkeypatch.setattr(cuda_graphs, "capture_sampling", capture)
    graphed, inputs = GraphedDenoiser(network), make_inputs(network)
    with torch.no_grad():
        results = [graphed(*inputs).x_0 for _ in range(3)]
        assert all(torch.equal(result, network(*inputs).x_0) for result in results)
    told = capsys.readouterr().err
    assert told.count("no CUDA graphs in sampling") == 1
    assert told.endswith("operation not permitted when stream is capturing\n")
    for _ in range(2):
        graphed(*make_inputs(network))
    assert captured == [10]


@pytest.fixture
def compiled(monkeypatch):
    """Blocks that were compiled, by a compiler that changes nothing."""
    blocks = []

    def compile_block(block, dynamic):
        assert dynamic
        block._compiled_call_impl = block._call_impl
        blocks.append(block)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_block)
    monkeypatch.setattr(cuda_graphs, "COMPILED_FROM", 3)
    return blocks


def test_blocks_are_compiled_when_many_steps_were_taken(network, captured, compiled):
    graphed = GraphedDenoiser(network)
    for calls, lengths in enumerate(([], [10], [10, 10], [10, 10])):
        assert compiled == ([] if calls < 3 else list(network.blocks))
        graphed(*make_inputs(network))
        assert captured == lengths
    graphed(*make_inputs(network, 17))
    assert captured == [10, 10, 20], "compiled, a shape is captured at once"
    assert all(block._compiled_call_impl is None for block in copy.deepcopy(network).blocks)


def test_without_a_compiler_there_are_graphs(network, captured, compiled, monkeypatch, capsys):
    works = cuda_graphs.capture_sampling

    def capture(denoiser, *arguments):
        if denoiser.blocks[0]._compiled_call_impl is not None:
            try:
                raise RuntimeError("no C compiler\nand more")
            except RuntimeError:
                raise RuntimeError("capture has failed") from None
        return works(denoiser, *arguments)

    monkeypatch.setattr(cuda_graphs, "capture_sampling", capture)
    graphed, inputs = GraphedDenoiser(network), make_inputs(network)
    with torch.no_grad():
        for _ in range(5):
            assert torch.equal(graphed(*inputs).x_0, network(*inputs).x_0)
    assert captured == [10, 10]
    assert capsys.readouterr().err.endswith("which makes them slower: no C compiler\n")
    assert not graphed._obstacles


def test_those_who_listen_to_the_network_hear_replays_too(network, captured):
    heard = []
    network.register_forward_hook(lambda module, inputs, output: heard.append(output.x_0.shape))
    graphed = GraphedDenoiser(network)
    for _ in range(3):
        graphed(*make_inputs(network))
    assert captured == [10]
    assert heard == [(2, TOKENS, 3)] * 3


@pytest.mark.parametrize("accelerate", ["auto", "none"])
def test_without_a_gpu_nothing_is_captured(network, monkeypatch, accelerate):
    def capture(*arguments):
        raise AssertionError

    monkeypatch.setattr(cuda_graphs.Graphed, "_capture", capture)
    graphed, inputs = GraphedDenoiser(network, accelerate), make_inputs(network)
    for _ in range(3):
        assert torch.equal(graphed(*inputs).x_0, network(*inputs).x_0)


def test_copies_have_their_own_network_and_no_graphs(network, captured):
    holder = torch.nn.Module()
    holder.network, holder.graphed = network, GraphedDenoiser(network)
    for _ in range(2):
        holder.graphed(*make_inputs(network))
    twin = copy.deepcopy(holder)
    assert twin.graphed.network is twin.network is not network
    twin.graphed(*make_inputs(network))
    assert captured == [10]


def test_a_network_of_one_tensor_is_captured_in_training_alone(captured):
    aga = AGA(5, 12, hidden_dim=8, num_heads=2, dropout=0.0)
    graphed, features = GraphedTraining(aga), torch.randn(2, 7, 12)
    results = [graphed(features) for _ in range(3)]
    assert captured == [7]
    with torch.no_grad():
        results += [graphed(features) for _ in range(3)]
    assert captured == [7]
    assert all(torch.equal(result, aga(features)) for result in results)


@pytest.mark.parametrize(("processes", "batches"), [(2, 1), (1, 4)])
def test_no_training_step_is_captured_whose_gradients_are_exchanged_or_added_up(
    network, captured, capsys, processes, batches
):
    graphed = GraphedDenoiser(network)
    graphed.check_training(torch.device("cpu"), processes, batches)
    for _ in range(3):
        graphed(*make_inputs(network))
    assert captured == []
    assert capsys.readouterr().err.count("no CUDA graphs in training") == 1
    with torch.no_grad():
        for _ in range(2):
            graphed(*make_inputs(network))
    assert captured == [10]
