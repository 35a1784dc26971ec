"""When a denoiser runs by graphs, and that padding for them changes nothing; without a GPU.

Capturing itself is replaced here; `tests/gpu` compares real replays.
"""

import copy

import pytest
import torch

from anticipate.nn import MixANT, cuda_graphs
from anticipate.nn.cuda_graphs import GraphedDenoiser, rounded

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
    monkeypatch.setattr(GraphedDenoiser, "DEVICE", "cpu")
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

    monkeypatch.setattr(GraphedDenoiser, "_capture", capture)
    graphed, inputs = GraphedDenoiser(network, accelerate), make_inputs(network)
    for _ in range(3):
        assert torch.equal(graphed(*inputs).x_0, network(*inputs).x_0)


def test_copies_have_their_own_network_and_no_graphs(network, captured):
    holder = torch.nn.Module()
    holder.network, holder.graphed = network, GraphedDenoiser(network)
    for _ in range(2):
        holder.graphed(*make_inputs(network))
    twin = copy.deepcopy(holder)
    assert twin.graphed.denoiser is twin.network is not network
    twin.graphed(*make_inputs(network))
    assert captured == [10]
