"""UAAA's networks: sizes, what they read, their losses, and the drawing of futures from them."""

import numpy as np
import pytest
import torch
from torch import nn

from anticipate.errors import ConfigError
from anticipate.nn.uaaa import CUTS, PARTS, UAAA, Continuation, Gaussian, Past
from anticipate.protocol.dense_baselines import START, TriGram
from anticipate.protocol.rollout import roll_out
from anticipate.segments import Segments
from anticipate.types import PAD_LABEL

CLASSES = 5


def tiny(current_length="total"):
    torch.manual_seed(0)
    network = UAAA(CLASSES, current_length, hidden_dim=6, state_dim=7).double()
    for weights in network.parameters():  # those of PyTorch hide most of the history
        nn.init.normal_(weights, std=1.0)
    return network


def transcript(*lengths):
    """Labels 0, 1, 2 .. with these lengths, as one row."""
    labels = torch.arange(len(lengths))[None] % CLASSES
    return labels, torch.tensor([lengths], dtype=torch.float64)


def frames(labels):
    """The unit of a frame."""
    return torch.tensor(0.0), torch.tensor(1.0)


def around_20(labels):
    """A unit in which zero is 20 frames and one is 30."""
    return torch.tensor(20.0), torch.tensor(10.0)


def one(number):
    return torch.tensor([number])


# By the sizes of its predecessor, 735,410 on Breakfast, with PyTorch's GRU.
@pytest.mark.parametrize(
    ("num_classes", "actions", "lengths"),
    [(48, 736_688, 769_922), (19, 729_235, 762_498), (202, 776_266, 809_346)],
)
def test_parameter_counts(num_classes, actions, lengths):
    with torch.device("meta"):
        network = UAAA(num_classes)
        third = UAAA(num_classes, "remaining")
    count = lambda module: sum(weights.numel() for weights in module.parameters())  # noqa: E731
    assert (count(network.actions), count(network.lengths)) == (actions, lengths)
    assert count(third) - count(network) == 2 * 128 + 2


def test_other_words_and_sizes_are_refused():
    with pytest.raises(ConfigError, match="current_length is 'rest': expected one of total"):
        UAAA(CLASSES, "rest")
    with pytest.raises(ConfigError, match="sizes of UAAA"):
        UAAA(CLASSES, num_layers=0)


def test_padding_and_other_rows_change_nothing():
    past = tiny().actions.past
    labels, lengths = transcript(3.0, 1.0, 2.0)
    alone, state = past(labels, lengths, one(3))
    padded = torch.tensor([[0, 1, 2, PAD_LABEL, 4], [3, 1, 0, 2, 4]])
    both, states = past(
        padded, torch.randn(2, 5).double().where(padded != 1, 1.0), torch.tensor([3, 5])
    )
    assert not torch.allclose(both[:1], alone)  # other lengths
    filled = torch.cat([lengths, torch.tensor([[9.0, 9.0]])], dim=1).expand(2, -1)
    both, states = past(padded, filled, torch.tensor([3, 5]))
    torch.testing.assert_close(both[:1], alone)
    torch.testing.assert_close(states[:, :1], state)


def test_an_empty_past_is_a_zero_vector_that_leaves_no_state():
    past = tiny().lengths.past
    labels, lengths = transcript(3.0, 1.0)
    features, state = past(labels, lengths, one(0))
    _, expected = past.gru(torch.zeros(1, 1, 6).double())
    torch.testing.assert_close(features, past.out(expected[-1]).relu())
    assert not state.any()


def test_going_on_equals_a_run_from_the_start_and_later_segments_do_not_matter():
    past = tiny().lengths.past
    labels, lengths = transcript(3.0, 1.0, 2.0, 5.0)
    whole, _ = past(labels, lengths, one(3))
    _, state = past(labels, lengths, one(1))
    for place in (1, 2):
        part = slice(place, place + 1)
        features, state = past(labels[:, part], lengths[:, part], one(1), state)
    torch.testing.assert_close(features, whole, rtol=0, atol=1e-12)
    changed = labels.clone(), lengths.clone()
    changed[0][0, 3], changed[1][0, 3] = 1, 77.0
    torch.testing.assert_close(past(*changed, one(3))[0], whole, rtol=0, atol=0)
    changed[1][0, 2] = 77.0
    assert not torch.allclose(past(*changed, one(3))[0], whole)


def test_the_likelihood_is_that_of_a_normal_density():
    gaussian = Gaussian.of(torch.tensor([[1.0, -9.0], [0.5, 9.0], [2.0, 0.3]]).double())
    values = torch.tensor([1.001, -3.0, 2.5]).double()
    std = np.exp([-7.0, 3.0, 0.3])  # log sigma keeps to this range
    mean = np.array([1.0, 0.5, 2.0])
    density = np.exp(-(((values.numpy() - mean) / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(gaussian.nll(values).numpy(), -np.log(density))


def reference_losses(network, rows):
    """Example by example: rows of (labels, lengths, next label or None), lengths in frames."""
    action, length, remaining = [], [], []
    for labels, lengths, following in rows:
        labels = torch.tensor([labels])
        whole = torch.tensor([lengths], dtype=torch.float64)
        n = labels.shape[1]
        gaussian = network.lengths(
            network.lengths.past(labels, whole, one(n - 1))[0], labels[:, -1]
        )
        length.append(gaussian.nll(whole[:, -1]))
        for i in range(10) if following is not None else ():
            seen = max(int(lengths[-1] * (i + 0.5) / 10), 1)
            cut = whole.clone()
            cut[0, -1] = seen
            logits, left = network.actions(network.actions.past(labels, cut, one(n))[0])
            action.append(-logits.log_softmax(-1)[0, following])
            remaining.append(left.nll(torch.tensor([lengths[-1] - seen]).double()))
    return {
        "action": torch.stack(action).mean(),
        "length": torch.stack(length).mean(),
        "remaining": torch.stack(remaining).mean(),
    }


def test_losses_are_means_over_cut_and_whole_segments():
    network = tiny("remaining")
    rows = [([0, 1, 2], [30, 7, 19], 4), ([3], [12], 1), ([2, 0], [5, 40], None)]
    labels = torch.tensor([[0, 1, 2], [3, PAD_LABEL, PAD_LABEL], [2, 0, PAD_LABEL]])
    lengths = torch.tensor([[30, 7, 19], [12, 0, 0], [5, 40, 0]])
    whole = torch.tensor([[19], [12], [40]])
    seen = (whole * torch.tensor(CUTS) // PARTS).clamp(min=1)
    found = network.losses(
        labels,
        lengths.double(),
        torch.tensor([3, 1, 2]),
        torch.tensor([4, 1, PAD_LABEL]),
        seen.double(),
        (whole - seen).double(),
    )
    assert found.keys() == {"action", "length", "remaining"}
    for name, expected in reference_losses(network, rows).items():
        torch.testing.assert_close(found[name], expected)
    last = slice(2, 3)  # nothing follows: nothing to learn for the action model
    alone = network.losses(
        labels[last],
        lengths[last].double(),
        torch.tensor([2]),
        torch.tensor([PAD_LABEL]),
        seen[last].double(),
        (whole - seen)[last].double(),
    )
    assert alone["action"] == alone["remaining"] == 0


def generators(count, seed=0):
    return np.random.default_rng(seed).spawn(count)


def draw(network, observed, num_frames, drawn=(), unit=frames):
    with torch.no_grad():
        future = Continuation(network, unit, observed, drawn)
        return roll_out(observed, future.current(), num_frames, future.next_action, future.length)


OBSERVED = Segments(np.array([0, 3, 1]), np.array([20, 9, 4]))


@pytest.mark.parametrize("current_length", ["total", "remaining"])
def test_the_first_futures_do_not_depend_on_how_many_follow(current_length):
    network = tiny(current_length)
    preds = draw(network, OBSERVED, 200, generators(5), around_20)
    assert preds.shape == (5, 200)
    np.testing.assert_array_equal(preds[:, :33], np.tile(OBSERVED.to_frames(), (5, 1)))
    first = draw(network, OBSERVED, 200, generators(2), around_20)
    np.testing.assert_array_equal(first, preds[:2])
    assert len(np.unique(preds, axis=0)) == 5


@pytest.mark.parametrize("current_length", ["total", "remaining"])
def test_certain_models_draw_the_mode(current_length):
    network = tiny(current_length)
    with torch.no_grad():
        network.actions.head.weight.mul_(1e4)
        for head in (network.lengths.head, network.actions.remaining):
            if head is not None:
                head.weight.zero_()
                head.bias.copy_(torch.tensor([25.5, -7.0]))  # sigma is a thousandth of a frame
    mode = draw(network, OBSERVED, 300)
    assert mode.shape == (1, 300)
    assert len(set(mode[0, 33:].tolist())) > 1
    np.testing.assert_array_equal(
        draw(network, OBSERVED, 300, generators(4)), np.tile(mode, (4, 1))
    )


@pytest.mark.parametrize(("current_length", "left"), [("total", 6), ("remaining", 10)])
def test_the_current_action_goes_on_for_what_it_has_left(current_length, left):
    network = tiny(current_length)
    with torch.no_grad():
        network.actions.head.weight.zero_()
        network.actions.head.bias[4] = 1e3  # 4 follows, again and again
        for head in (network.lengths.head, network.actions.remaining):
            if head is not None:
                head.weight.zero_()
                head.bias.copy_(torch.tensor([10.7, -7.0]))
    for num_frames in (33, 35, 60):  # 4 of 10.7 frames were seen
        (mode,) = draw(network, OBSERVED, num_frames)
        expected = [*OBSERVED.to_frames(), *[1] * left, *[4] * 60][:num_frames]
        assert mode.tolist() == expected


class Shares(np.random.Generator):
    """Draws integers as shares: the same numbers for the tri-gram and for UAAA."""

    def integers(self, total):
        return int(self.random() * total)


class LastTwo(Past):
    """Keeps the last two labels as features and as state."""

    def forward(self, labels, lengths, num_segments, state=None):
        before = [[START, START]] * len(labels) if state is None else state[0].tolist()
        rows = zip(before, labels.tolist(), num_segments.tolist(), strict=True)
        kept = torch.tensor([[*old, *new[:n]][-2:] for old, new, n in rows])
        return kept, kept[None]


class Tables(UAAA):
    """Both models read off a tri-gram."""

    def __init__(self, trigram):
        super().__init__(CLASSES)
        self.trigram = trigram
        self.actions.past = self.lengths.past = LastTwo(CLASSES, 1, 1, 1)
        self.actions.forward, self.lengths.forward = self.action, self.length

    def action(self, features):
        tables = self.trigram.cumulative_counts
        counts = []
        for before, last in features.tolist():
            known = next(h for h in ((before, last), (last,), ()) if h in tables)
            counts.append(np.diff(tables[known], prepend=0)[:-1])
        return torch.tensor(np.array(counts)).double().log(), None

    def length(self, features, actions):
        mean = torch.from_numpy(self.trigram.mean_lengths)[actions]
        return Gaussian(mean, torch.from_numpy(self.trigram.std_lengths)[actions].log())


def test_counts_and_gaussians_of_classes_make_it_the_trigram():
    random = np.random.default_rng(0)
    grammar = [
        Segments(random.permutation(CLASSES), random.integers(5, 50, CLASSES)) for _ in range(20)
    ]
    fitted = TriGram.fit(grammar, CLASSES)
    endless = {
        history: np.append(sums[:-1], sums[-2])
        for history, sums in fitted.cumulative_counts.items()
    }
    endless = {history: sums for history, sums in endless.items() if sums[-1]}
    trigram = TriGram(endless, fitted.mean_lengths, fitted.std_lengths)
    for seed in range(5):
        expected = trigram.forecast(OBSERVED.to_frames(), 400, 1, Shares(np.random.PCG64(seed)))
        found = draw(Tables(trigram), OBSERVED, 400, [Shares(np.random.PCG64(seed))])
        np.testing.assert_array_equal(found, expected)


def test_a_diverged_model_is_one_line():
    network = tiny()
    nn.init.constant_(network.lengths.head.bias, float("nan"))
    with pytest.raises(ConfigError, match="training has diverged"):
        draw(network, OBSERVED, 100)
