"""RULSTM: sizes, the authors' weights against plain numpy, what it sees, and its streams."""

import numpy as np
import pytest
import torch

from anticipate.errors import CheckpointError, ConfigError
from anticipate.nn import RULSTM, RULSTMFusion, rulstm_from_reference
from anticipate.nn.rulstm import their_name

C, H, STEPS = 5, 8, 6
WIDTHS = (4, 3, 6)


def released(width=4, num_layers=1, seed=0):
    """Tensors as the authors' code names them, large enough that every part matters."""
    network = RULSTM(C, width, H, num_layers)
    return _tensors(network, seed)


def released_fusion(num_layers=1):
    return _tensors(RULSTMFusion([RULSTM(C, width, H, num_layers) for width in WIDTHS]), 0)


def _tensors(network, seed):
    generator = torch.Generator().manual_seed(seed)
    shapes = {their_name(name): value.shape for name, value in network.named_parameters()}
    return {name: 0.5 * torch.randn(*shape, generator=generator) for name, shape in shapes.items()}


def clips(width, steps=STEPS, batch=2, seed=1):
    return torch.randn(batch, steps, width, generator=torch.Generator().manual_seed(seed))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class ReferenceRULSTM:
    """The network in plain numpy, one clip and one read at a time."""

    def __init__(self, tensors, num_layers=1):
        self.tensors = {name: value.double().numpy() for name, value in tensors.items()}
        self.layers = range(num_layers)

    def read(self, lstm, x, state):
        after = []
        for layer, (hidden, cell) in zip(self.layers, state, strict=True):
            w_x, w_h, b_x, b_h = (
                self.tensors[f"{lstm}.{name}_l{layer}"]
                for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            i, f, g, o = np.split(w_x @ x + b_x + w_h @ hidden + b_h, 4)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
            x = sigmoid(o) * np.tanh(cell)
            after.append((x, cell))
        return after

    def contexts(self, clip, steps_to_action=1, completion=False):
        """Return u_t and c_t of each step of one clip."""
        state, found = [(np.zeros(H), np.zeros(H)) for _ in self.layers], []
        for t, x in enumerate(clip):
            state = self.read("rolling_lstm.lstm", x, state)
            reads = clip[t:] if completion else [x] * (len(clip) - 1 - t + steps_to_action + 1)
            ahead = state
            for frame in reads:
                ahead = self.read("unrolling_lstm", frame, ahead)
            found.append((ahead[-1][0], state[-1][1]))
        return found

    def logits(self, contexts):
        weight, bias = (self.tensors[f"classifier.1.{name}"] for name in ("weight", "bias"))
        return np.stack([weight @ u + bias for u, _ in contexts])

    def __call__(self, features, **mode):
        return np.stack([self.logits(self.contexts(c, **mode)) for c in features.double().numpy()])


def reference_fusion(tensors, features, num_layers=1, **mode):
    """Return logits and weights of the fusion of one clip."""
    contexts, logits, start = [], [], 0
    for number, width in enumerate(WIDTHS):
        prefix = f"branches.{number}."
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        branch = ReferenceRULSTM(own, num_layers)
        contexts.append(
            branch.contexts(features[:, start : start + width].double().numpy(), **mode)
        )
        logits.append(branch.logits(contexts[-1]))
        start += width
    steps = zip(*contexts, strict=True)
    x = np.stack([np.concatenate([part for one in step for part in one]) for step in steps])
    for layer in (0, 3, 6):
        weight, bias = (tensors[f"MATT.{layer}.{n}"].double().numpy() for n in ("weight", "bias"))
        x = x @ weight.T + bias
        x = x if layer == 6 else np.maximum(x, 0)
    weights = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    return sum(weights[:, m, None] * logits[m] for m in range(len(WIDTHS))), weights


# Counted from the authors' networks.
@pytest.mark.parametrize(
    ("num_classes", "widths", "expected"),
    [
        (3806, [1024], 20_694_750),
        (3806, [352], 15_189_726),
        (2513, [1024], 19_369_425),
        (2513, [352], 13_864_401),
        (106, [1024], 16_902_250),
        (3806, [1024, 1024, 352], 67_200_669),
        (2513, [1024, 1024, 352], 63_224_694),
    ],
)
def test_sizes_are_the_published_ones(num_classes, widths, expected):
    with torch.device("meta"):
        branches = [RULSTM(num_classes, width) for width in widths]
        network = branches[0] if len(widths) == 1 else RULSTMFusion(branches)
    assert sum(parameter.numel() for parameter in network.parameters()) == expected
    if len(widths) > 1 and num_classes == 3806:
        matt = sum(parameter.numel() for parameter in network.attention.parameters())
        assert matt == 10_621_443


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("mode", [{}, {"steps_to_action": 4}, {"completion": True}])
def test_a_branch_computes_what_the_authors_does(num_layers, mode):
    tensors, features = released(num_layers=num_layers), clips(4)
    network = rulstm_from_reference(
        tensors,
        sequence_completion=mode.get("completion", False),
        steps_to_action=mode.get("steps_to_action", 1),
    )
    assert network.training
    expected = ReferenceRULSTM(tensors, num_layers)(features, **mode)
    np.testing.assert_allclose(network.eval()(features).detach(), expected, atol=1e-5)


@pytest.mark.parametrize("num_layers", [1, 2])
@pytest.mark.parametrize("batch", [1, 3])
def test_a_fusion_computes_what_the_authors_does(num_layers, batch):
    tensors, features = released_fusion(num_layers), clips(sum(WIDTHS), batch=batch)
    network = rulstm_from_reference(tensors, steps_to_action=4).eval()
    logits, weights = network(features).detach(), network.weights(features).detach()
    assert weights.shape == (batch, STEPS, 3)
    for row in range(batch):
        expected = reference_fusion(tensors, features[row], num_layers, steps_to_action=4)
        np.testing.assert_allclose(logits[row], expected[0], atol=1e-5)
        np.testing.assert_allclose(weights[row], expected[1], atol=1e-5)


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wrapping_and_prefix_do_not_matter(wrapper, prefix):
    found = {prefix + name: tensor for name, tensor in released().items()}
    content = {wrapper: found, "epoch": 3, "perf": 0.1} if wrapper else found
    network = rulstm_from_reference(content)
    assert torch.equal(network.classifier.bias, released()["classifier.1.bias"])


@pytest.mark.parametrize("make", [released, released_fusion])
def test_every_tensor_must_be_there_and_fit(make):
    for name, tensor in make().items():
        missing, smaller = dict(make()), {**make(), name: tensor[:-1]}
        del missing[name]
        for wrong in (missing, smaller):
            with pytest.raises(CheckpointError, match=r"is missing|expected"):
                rulstm_from_reference(wrong)
    with pytest.raises(CheckpointError, match="unknown tensor 'extra'"):
        rulstm_from_reference({**make(), "extra": torch.zeros(1)})


@pytest.mark.parametrize("content", [[1], {}, {"state_dict": {}}, {"classifier.1.bias": 3}])
def test_what_is_no_state_dict_is_refused(content):
    with pytest.raises(CheckpointError, match="a RULSTM"):
        rulstm_from_reference(content)


def test_a_negative_distance_is_refused():
    with pytest.raises(ConfigError, match="steps_to_action is -1"):
        rulstm_from_reference(released(), steps_to_action=-1)


def test_a_frame_changes_nothing_before_it_but_in_sequence_completion():
    features = clips(4)
    changed = features.clone()
    changed[:, 3] += 1.0
    for completion in (False, True):
        network = rulstm_from_reference(released(), sequence_completion=completion).eval()
        before, after = network(features), network(changed)
        assert torch.equal(before[:, :3], after[:, :3]) is not completion
        assert not torch.equal(before[:, 3:], after[:, 3:])


@pytest.mark.parametrize("make", [released, released_fusion])
def test_a_clip_that_ends_earlier_equals_the_first_steps_of_the_whole(make):
    network = rulstm_from_reference(make()).eval()
    features = clips(4 if make is released else sum(WIDTHS), steps=14)
    shorter, whole = network.anticipate(features[:, :11], 4), network.anticipate(features, 1)
    torch.testing.assert_close(shorter, whole[:, :11])
    assert (network.anticipate(features[:, :11], 1) - whole[:, :11]).abs().max() > 0.01


@pytest.mark.parametrize("make", [released, released_fusion])
@pytest.mark.parametrize("steps_to_action", [1, 4])
def test_a_stream_says_what_the_last_step_of_a_clip_does(make, steps_to_action):
    network = rulstm_from_reference(make(), steps_to_action=steps_to_action).eval()
    features = clips(4 if make is released else sum(WIDTHS))
    state = network.initial_state(len(features))
    size = sum(tensor.numel() for tensor in torch.utils._pytree.tree_leaves(state))
    for t in range(STEPS):
        logits, state = network.step(features[:, t], state)
        torch.testing.assert_close(logits, network(features[:, : t + 1])[:, -1])
    assert sum(tensor.numel() for tensor in torch.utils._pytree.tree_leaves(state)) == size


def test_clips_do_not_depend_on_their_batch_and_padding_is_finite():
    network = rulstm_from_reference(released()).eval()
    features = clips(4, batch=3)
    features[:, :5] = features[:, 5:6]  # as clips are that begin before their video
    together = network(features)
    assert together.isfinite().all()
    torch.testing.assert_close(together[1:2], network(features[1:2]))


def test_dropout_is_drawn_in_training_alone_and_anew_for_every_read():
    network = RULSTM(C, 4, H, dropout=0.5)
    features = clips(4)
    assert not torch.equal(network(features), network(features))
    network.eval()
    assert torch.equal(network(features), network(features))
    drawn = []
    network.dropout.register_forward_hook(lambda *call: drawn.append(call[2].shape))
    network(features)
    rolled = [(2, 4)] * STEPS
    reads = [(STEPS, 2, 4), *((steps, 2, 4) for steps in range(STEPS, 0, -1))]
    assert drawn == [*rolled, *reads, (2, STEPS, H)]


def test_gradients_reach_every_parameter():
    network = RULSTMFusion([RULSTM(C, width, H, num_layers=2, dropout=0.1) for width in WIDTHS])
    network(clips(sum(WIDTHS)))[:, -1].square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_widths_that_do_not_add_up_are_refused():
    network = RULSTMFusion([RULSTM(C, width, H) for width in WIDTHS])
    with pytest.raises(ConfigError, match=r"width 14 for branches of the widths 4 \+ 3 \+ 6"):
        network(clips(14))
