"""AGA: what its sizes are, what each step may know, and that streams and clips agree."""

import itertools

import pytest
import torch

from anticipate.errors import ConfigError
from anticipate.nn import AGA
from anticipate.nn.aga import AGAState

SMALL = {"num_classes": 6, "feature_dim": 5, "hidden_dim": 16, "num_heads": 4}
QUERIES = ("ema", "ema_released", "last", "lstm")
GATES = ("elementwise", "scalar", "none", "history")
ATTENTIONS = ("action_guided", "visual")
VARIANTS = [
    {"query": query, "gate": gate, "attention": attention}
    for query, gate, attention in itertools.product(QUERIES, GATES, ATTENTIONS)
    if attention == "action_guided" or query == "ema"  # visual attention has no use for queries
] + [
    {"values": "fused"},
    {"values": "fused", "attention": "visual"},
    {"redraw_key_dropout": True},
    {"hard_top1": True},
    {"query_space": "logits", "key_space": "probs"},
    {"query_space": "logits"},
    {"query_space": "logits", "query": "ema_released"},
    {"input_norm": False, "bottleneck": 3},
]


def make(**settings):
    """A network in double precision whose parts all matter: predictions are far from uniform."""
    torch.manual_seed(0)
    network = AGA(**{**SMALL, **settings}).double().eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return network


def clips(batch=3, steps=8, width=5):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, steps, width, generator=generator, dtype=torch.float64)


def stream(network, features):
    state, logits = network.initial_state(len(features)), []
    for now in features.unbind(dim=1):
        answer, state = network.step(now, state)
        logits.append(answer)
    return torch.stack(logits, dim=1), state


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


# The authors' state dict has 31,670,358 parameters for EPIC-Kitchens-100, of which two gains of
# width 2,048 (k_norm and v_norm before the MLP) never reach an output; with visual attention
# encode_k, with no gate the selector do neither. Ours are without them.
@pytest.mark.parametrize(
    ("num_classes", "settings", "released", "unused"),
    [
        (3806, {}, 31_670_358, 2 * 2048),
        (2513, {}, 27_691_797, 2 * 2048),
        (106, {}, 20_285_458, 2 * 2048),
        (3806, {"attention": "visual"}, 33_909_914, 2 * 2048 + 1_956_796),
        (3806, {"gate": "scalar"}, 30_620_247, 2 * 2048),
        (3806, {"input_norm": False}, 31_668_310, 2 * 2048),
        (3806, {"gate": "none"}, 31_670_358, 2 * 2048 + 3_148_288),
        (3806, {"gate": "history"}, 31_670_358, 2 * 2048 + 3_148_288),
        (3806, {"query": "lstm"}, 147_585_894, 2 * 2048),
    ],
)
def test_parameter_counts(num_classes, settings, released, unused):
    with torch.device("meta"):
        network = AGA(num_classes, feature_dim=1024, **settings)
    assert count(network) == released - unused


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_every_parameter_gets_a_gradient(settings):
    network = make(**settings)
    network(clips()).square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
@pytest.mark.parametrize("queue_length", [1, 3, 30])
def test_a_stream_is_a_clip(settings, queue_length):
    network = make(queue_length=queue_length, **settings)
    logits, state = stream(network, clips())
    torch.testing.assert_close(logits, network(clips()))
    assert state.values.shape[2] == min(queue_length, clips().shape[1])


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_no_step_knows_what_comes_later_and_no_row_another(settings):
    network, features = make(**settings), clips()
    expected = network(features)
    later = features.clone()
    later[:, 5:] *= -1
    torch.testing.assert_close(network(later)[:, :5], expected[:, :5])
    assert ((network(later) - expected)[:, 6:].abs().amax(dim=-1) > 1e-6).all()
    other = features.clone()
    other[1] *= -1
    torch.testing.assert_close(network(other)[[0, 2]], expected[[0, 2]])


@pytest.mark.parametrize("settings", [{}, {"attention": "visual"}], ids=str)
def test_the_order_of_the_memory_does_not_matter(settings):
    network = make(queue_length=5, **settings)
    _, state = stream(network, clips(steps=6))
    order = torch.tensor([3, 0, 4, 2, 1])
    shuffled = AGAState(state.keys[:, :, order], state.values[:, :, order], state.summary)
    newest = clips()[:, 7]
    expected = network.step(newest, state)[0]
    torch.testing.assert_close(network.step(newest, shuffled)[0], expected)
    mixed = AGAState(state.keys[:, :, order], state.values, state.summary)
    assert (network.step(newest, mixed)[0] - expected).abs().max() > 1e-6


def test_what_left_the_queue_is_forgotten():
    """Without recurrence (visual attention) a step depends on its own and the last S frames."""
    network, features = make(queue_length=2, attention="visual"), clips()
    expected = network(features)
    earlier = features.clone()
    earlier[:, :5] *= -1
    torch.testing.assert_close(network(earlier)[:, 7], expected[:, 7])
    assert (network(earlier)[:, 6] - expected[:, 6]).abs().max() > 1e-6


def test_a_state_stays_as_it_is():
    network = make(queue_length=3)
    _, state = stream(network, clips(steps=5))
    before = [tensor.clone() for tensor in (state.keys, state.values, *state.summary)]
    network.step(clips()[:, 5], state)
    after = (state.keys, state.values, *state.summary)
    assert all(torch.equal(one, two) for one, two in zip(before, after, strict=True))


def test_all_weight_on_the_newest_prediction_is_the_last_one():
    average, last = make(ema_weight=1.0), make(query="last")
    last.load_state_dict(average.state_dict())
    torch.testing.assert_close(average(clips()), last(clips()))


def test_dropout_of_stored_keys_is_drawn_once_unless_asked_for():
    """With one stored step and dropout in the key encoder alone, only new draws change keys."""
    drawn_once, redrawn = make(), make(redraw_key_dropout=True)
    torch.testing.assert_close(drawn_once(clips()), redrawn(clips()))
    for network, equal in ((drawn_once, True), (redrawn, False)):
        network.key_encoder.dropout.train()
        torch.manual_seed(0)
        _, state = stream(network, clips(steps=4))
        answers = [network.step(clips()[:, 5], state)[0] for _ in range(2)]
        assert torch.equal(*answers) == equal


def test_the_first_step_has_no_history():
    network = make()
    trace = network.trace(clips())
    frame = network.encode(clips()).encoded[:, 0]
    expected = network.classifier(network.history_norm(frame))
    torch.testing.assert_close(trace.logits[:, 0], expected)
    assert not trace.gate[:, 0].any()
    assert not trace.queries[:, 0].any()


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_a_trace_shows_what_forward_computes(settings):
    network = make(queue_length=3, **settings)
    trace = network.trace(clips())
    torch.testing.assert_close(trace.logits, network(clips()))
    assert torch.equal(trace.predictions, trace.logits)
    widths = {"elementwise": 16, "scalar": 1, "none": 0, "history": 0}
    assert trace.gate.shape == (3, 8, widths[settings.get("gate", "elementwise")])
    attended = trace.attention.sum(dim=2) > 0
    step, past = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    assert torch.equal(attended, ((past < step) & (past >= step - 3)).expand(3, 8, 8))
    torch.testing.assert_close(trace.attention.sum(dim=-1)[:, 1:], torch.ones(3, 7, 4).double())


def test_attention_is_what_the_scores_of_predictions_say():
    network = make()
    trace = network.trace(clips())
    for row in range(3):
        scores = network.attention_scores(trace.queries[row, 7:], trace.predictions[row, :7])
        weights = scores.softmax(dim=-1)[0]
        torch.testing.assert_close(weights, trace.attention[row, 7, :, :7])


@pytest.mark.parametrize(
    "settings",
    [{}, {"values": "fused"}, {"redraw_key_dropout": True}, {"query": "lstm"}, {"queue_length": 3}],
    ids=str,
)
def test_the_own_past_changes_nothing_another_does(settings):
    network, features = make(**settings), clips()
    logits, state = stream(network, features[:, :7])
    expected, _ = network.step(features[:, 7], state)
    same, _ = network.step(features[:, 7], network.with_past(state, logits))
    torch.testing.assert_close(same, expected)
    other = logits.detach().flip(dims=(1,)).requires_grad_()
    changed, _ = network.step(features[:, 7], network.with_past(state, other))
    assert (changed - expected).abs().max() > 1e-6
    changed.sum().backward()
    kept = other.grad.abs().amax(dim=(0, 2))[-3:]
    assert (kept > 0).all()


def test_gradients_are_those_of_finite_differences():
    network = make(num_classes=3, feature_dim=2, hidden_dim=4, num_heads=2, queue_length=2)
    features = clips(batch=2, steps=4, width=2).requires_grad_()
    assert torch.autograd.gradcheck(network, (features,))
    _, state = stream(network, features[:, :2].detach())
    past = clips(batch=2, steps=2, width=3).requires_grad_()
    now = features[:, 3].detach()
    assert torch.autograd.gradcheck(
        lambda past: network.step(now, network.with_past(state, past))[0], (past,)
    )


def test_zero_features_give_finite_outputs_and_gradients():
    network = make(input_norm=False)
    torch.nn.init.zeros_(network.frame_encoder.linear.bias)
    features = torch.zeros_like(clips()).requires_grad_()
    logits = network(features)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert features.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hidden_dim": 18}, r"num_heads \(4\) must divide hidden_dim \(18\)"),
        ({"queue_length": 0}, "queue_length must be at least 1, got 0"),
        ({"ema_weight": 0.0}, "ema_weight must lie above 0 and at most be 1, got 0.0"),
        ({"ema_weight": 1.5}, "ema_weight must lie above 0"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        AGA(**{**SMALL, **settings})


def test_visual_attention_has_no_predictions_to_explain():
    network = make(attention="visual")
    _, state = stream(network, clips(steps=2))
    with pytest.raises(ConfigError, match="this AGA has visual attention"):
        network.attention_scores(torch.eye(6).double(), torch.eye(6).double())
    with pytest.raises(ConfigError, match="use one with attention: action_guided"):
        network.with_past(state, torch.zeros(3, 2, 6).double())
