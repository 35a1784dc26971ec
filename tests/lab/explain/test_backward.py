"""A counterfactual past changes what it has to, and nothing else."""

import json

import numpy as np
import pytest
import torch

from anticipate.cli import main
from anticipate.datasets import SyntheticActions
from anticipate.errors import ConfigError
from anticipate.lab.explain.aga_run import clip_items, load_aga
from anticipate.lab.explain.counterfactual import Descent, change_past, prediction_kl
from anticipate.lab.explain.explain_backward import explain_clips, summary_document
from anticipate.nn import AGA

pytestmark = pytest.mark.slow

NUM_ACTIONS, NUM_STEPS = 6, 5


def tiny(**settings):
    """An untrained network whose expectation hangs on what it remembers."""
    torch.manual_seed(0)
    network = AGA(NUM_ACTIONS, 4, hidden_dim=32, num_heads=2, gate="history", **settings).eval()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("linear.bias"):
                parameter.zero_()
        network.retrieval.query_proj.weight *= 8
        network.classifier.linear.weight *= 4
    return network.requires_grad_(requires_grad=False)


@pytest.fixture
def clips():
    """Three random clips."""
    return torch.randn(3, NUM_STEPS, 4, generator=torch.Generator().manual_seed(1))


def runners_up(network, clips):
    """Return the second likeliest action of each clip."""
    return network(clips)[:, -1].topk(2).indices[:, 1]


def test_no_iterations_change_nothing(clips):
    network = tiny()
    found = change_past(network, clips, torch.tensor([0, 1, 2]), Descent(steps=0))
    forward = network(clips)
    torch.testing.assert_close(found.before, forward[:, :-1])
    torch.testing.assert_close(found.logits_before, forward[:, -1])
    assert torch.equal(found.after, found.before)
    assert torch.equal(found.logits_after, found.logits_before)
    assert found.iterations.tolist() == [0, 0, 0]
    assert found.kl.abs().max() == 0


def test_what_is_expected_already_needs_no_other_past(clips):
    network = tiny()
    found = change_past(network, clips, network(clips)[:, -1].argmax(dim=-1), Descent())
    assert found.success.all()
    assert torch.equal(found.after, found.before)
    assert found.iterations.tolist() == [0, 0, 0]


@pytest.mark.parametrize("query", ["ema", "ema_released", "last", "lstm"])
def test_the_target_is_reached_and_the_past_found_leads_to_it(clips, query):
    network = tiny(query=query)
    targets = runners_up(network, clips)
    found = change_past(network, clips, targets, Descent(steps=100))
    assert found.success.any()
    state = network.initial_state(len(clips))
    for step in clips[:, :-1].unbind(dim=1):
        _, state = network.step(step, state)
    logits, _ = network.step(clips[:, -1], network.with_past(state, found.after))
    torch.testing.assert_close(logits, found.logits_after)
    assert torch.equal(logits.argmax(dim=-1) == targets, found.success)
    assert (found.kl.sum(dim=1)[found.iterations > 0] > 0).all()


def test_clips_do_not_depend_on_each_other(clips):
    network = tiny()
    targets = runners_up(network, clips)
    together = change_past(network, clips, targets, Descent(steps=40))
    for row in range(len(clips)):
        chosen = slice(row, row + 1)
        alone = change_past(network, clips[chosen], targets[chosen], Descent(steps=40))
        torch.testing.assert_close(alone.after[0], together.after[row], rtol=1e-3, atol=1e-4)
        assert alone.iterations[0] == together.iterations[row]


def test_a_query_of_the_last_prediction_leaves_older_ones_alone(clips):
    network = tiny(query="last")
    descent = Descent(steps=3, part="query")
    found = change_past(network, clips, runners_up(network, clips), descent)
    assert torch.equal(found.after[:, :-1], found.before[:, :-1])
    assert (found.after[:, -1] != found.before[:, -1]).any()


def test_keys_beyond_the_queue_do_not_change(clips):
    network = tiny(query="last", queue_length=2)
    found = change_past(network, clips, runners_up(network, clips), Descent(steps=3, part="keys"))
    assert torch.equal(found.after[:, :-2], found.before[:, :-2])
    assert (found.after[:, -2:] != found.before[:, -2:]).any()


def test_only_the_last_steps_change_when_asked_for(clips):
    network = tiny()
    found = change_past(network, clips, runners_up(network, clips), Descent(steps=3, last=1))
    assert torch.equal(found.after[:, :-1], found.before[:, :-1])
    assert (found.after[:, -1] != found.before[:, -1]).any()


@pytest.mark.parametrize("penalty", [{"kl": 100.0}, {"l1": 100.0}])
def test_penalties_keep_the_past_close(clips, penalty):
    network = tiny()
    targets = (runners_up(network, clips) + 1) % NUM_ACTIONS
    free = change_past(network, clips, targets, Descent(steps=10))
    bound = change_past(network, clips, targets, Descent(steps=10, **penalty))
    assert bound.kl.sum() < free.kl.sum()


def test_kl_equals_its_definition():
    before, after = np.random.default_rng(0).normal(size=(2, 3, 2, 5))

    def reference_probs(logits):
        return np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)

    p, q = reference_probs(before), reference_probs(after)
    expected = (p * np.log(p / q)).sum(axis=-1)
    found = prediction_kl(torch.from_numpy(before), torch.from_numpy(after))
    np.testing.assert_allclose(found.numpy(), expected)


@pytest.mark.parametrize(
    ("settings", "num_steps", "message"),
    [
        ({"attention": "visual"}, 5, "visual attention"),
        ({"hard_top1": True}, 5, "hard_top1"),
        ({}, 1, "data.num_steps of at least 2"),
    ],
)
def test_without_a_past_to_change_it_says_so(settings, num_steps, message):
    with pytest.raises(ConfigError, match=message):
        change_past(
            tiny(**settings), torch.zeros(1, num_steps, 4), torch.tensor([0]), Descent(steps=1)
        )


def test_the_rate_counts_clips_whose_expectation_had_to_change():
    def document(success, iterations):
        return {"success": success, "iterations": iterations, "steps": [], "expected": {}}

    documents = [document(*pair) for pair in ((True, 0), (True, 10), (False, 300), (True, 20))]
    summary = summary_document(documents)
    assert summary["success_rate"] == pytest.approx(200 / 3)
    assert summary["mean_iterations"] == 15
    assert (summary["num_clips"], summary["num_expected_from_the_start"]) == (4, 1)
    assert np.isnan(summary_document(documents[:1])["success_rate"])


def test_documents_list_the_most_changed_step_first(aga_checkpoint, actions_file):
    run = load_aga(aga_checkpoint, actions_file)
    (document,) = explain_clips(run, [7], None, Descent(steps=5))
    dataset = run.data.test_dataset
    assert document["clip"] == dataset.rows.segment_ids[7]
    assert document["target"] == run.data.vocabulary[dataset.rows.actions[7]]
    assert sorted(step["step"] for step in document["steps"]) == [0, 1, 2, 3]
    assert {step["step"]: step["time"] for step in document["steps"]} == dict(
        enumerate([-5.0, -4.0, -3.0, -2.0])
    )
    changes = [step["kl"] for step in document["steps"]]
    assert changes == sorted(changes, reverse=True)
    for step in (*document["steps"], document["expected"]):
        for when in ("before", "after"):
            probs = [entry["probability"] for entry in step[when]]
            assert len(probs) == 5
            assert probs == sorted(probs, reverse=True)


def test_the_command_writes_a_document_and_a_picture_for_each_clip(
    tmp_path, aga_checkpoint, actions_file
):
    clips = SyntheticActions(str(actions_file)).test_dataset.rows.segment_ids[3:5]
    files = ["--ckpt", str(aga_checkpoint), "--data", str(actions_file), "--output", str(tmp_path)]
    options = ["--clip", *clips, "--target", "take onion", "--steps", "2"]
    main(["explain", "backward", *files, *options])
    summary = json.loads((tmp_path / "backward.json").read_text())
    assert summary["settings"]["steps"] == 2
    assert [clip["clip"] for clip in summary["clips"]] == list(clips)
    for clip, line in zip(clips, summary["clips"], strict=True):
        document = json.loads((tmp_path / f"backward_{clip}.json").read_text())
        assert document["target"] == "take onion"
        assert {key: document[key] for key in line} == line
        assert (tmp_path / f"backward_{clip}.png").stat().st_size


def test_unknown_clips_and_those_without_a_past_are_told_apart(actions_file):
    data = SyntheticActions(str(actions_file), anticipation_time=4.0)
    known = data.test_dataset.rows.segment_ids
    early = next(name for name in data.test_segments.segment_ids if name not in known)
    assert clip_items([known[2], known[0]], data) == [2, 0]
    with pytest.raises(ConfigError, match=f"clip '{early}' starts too early"):
        clip_items([early], data)
    with pytest.raises(ConfigError, match=r"no clip .P99. among the \d+ validation"):
        clip_items(["P99"], data)


def test_a_clip_that_a_quick_run_leaves_out_is_told_so(actions_file):
    data = SyntheticActions(str(actions_file), limit_test_rows=1)
    with pytest.raises(ConfigError, match="left out by limit_test_rows"):
        clip_items([data.test_segments.segment_ids[-1]], data)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--num_clips", "2", "--target", "take onoin"], "did you mean 'take onion'"),
        (["--num_clips", "0"], "--num_clips is 0: expected 1 or more"),
        (["--num_clips", "1", "--lr", "0"], "--lr is 0.0: expected more than 0"),
        (["--num_clips", "1", "--kl", "nan"], "--kl is nan"),
        (["--num_clips", "1", "--last", "0"], "--last is 0"),
    ],
)
def test_mistakes_are_one_line(capsys, tmp_path, aga_checkpoint, actions_file, options, message):
    files = ["--ckpt", str(aga_checkpoint), "--data", str(actions_file)]
    with pytest.raises(SystemExit):
        main(["explain", "backward", *files, "--output", str(tmp_path / "out"), *options])
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
