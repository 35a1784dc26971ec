"""A video as a stream: what is shown is what the network says of the frames so far."""

import json

import numpy as np
import pytest
import torch

from anticipate.cli import main
from anticipate.datasets import SyntheticActions
from anticipate.datasets.batches.ticks import TickWindows
from anticipate.lab.stream import TOP, stream
from anticipate.nn import AGA, AVT, RULSTM, TeSTra
from anticipate.training.loading import load

VIDEO = "P01_000"


@pytest.fixture(scope="module")
def checkpoint(aga_run):
    """A tiny AGA after three steps of training."""
    return aga_run / "checkpoints" / "last.ckpt"


@pytest.fixture
def lines(capsys, checkpoint, actions_file):
    """Stream a video as JSON lines."""

    def documents(*options, data=actions_file):
        capsys.readouterr()
        files = [str(data), "--ckpt", str(checkpoint)]
        main(["stream", *files, "--video", VIDEO, "--json", *options])
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return documents


def test_every_step_of_the_stream_is_that_of_one_pass_over_the_clip(checkpoint, lines):
    model, data = load(checkpoint)
    frames = np.arange(30, data.store.num_frames(VIDEO) + 1, 30)
    features = torch.from_numpy(data.store.features_at(VIDEO, frames))
    with torch.inference_mode():
        probs = model.network(features.unsqueeze(0))[0].softmax(dim=1)
    best = probs.topk(TOP)
    streamed = lines()
    assert [line["frame"] for line in streamed] == frames.tolist()
    for line, actions, values in zip(streamed, best.indices, best.values, strict=True):
        assert [top["action"] for top in line["top5"]] == [data.vocabulary[a] for a in actions]
        found = [top["probability"] for top in line["top5"]]
        assert found == pytest.approx(values.tolist(), rel=1e-4)


def test_start_and_stop_bound_the_moments_and_a_start_is_told(checkpoint, actions_file, capsys):
    main(["stream", str(actions_file), "--ckpt", str(checkpoint), "--video", VIDEO, "--json",
          "--start=2.5", "--stop=5"])  # fmt: skip
    said = capsys.readouterr()
    assert [json.loads(line)["time"] for line in said.out.splitlines()] == [2.5, 3.5, 4.5]
    assert "P01_000: seen from 2.5 s on" in said.err


def test_avt_says_what_it_says_of_the_clip_in_its_window(actions_file):
    data = SyntheticActions(str(actions_file), num_steps=3)
    torch.manual_seed(0)
    sizes = {"hidden_dim": 8, "num_layers": 2, "num_heads": 2, "window": 3}
    network = AVT(data.num_classes, data.feature_dim, **sizes).eval()
    moments = list(stream(network, data, VIDEO, stop=6.0))
    for newest, moment in enumerate(moments):
        frames = np.array([one.frame for one in moments[max(0, newest - 2) : newest + 1]])
        clip = torch.from_numpy(data.store.features_at(VIDEO, frames)).unsqueeze(0)
        best = network(clip)[0, -1].softmax(dim=0).topk(TOP)
        assert [name for name, _ in moment.top] == [data.vocabulary[a] for a in best.indices]
        assert [p for _, p in moment.top] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_rulstm_says_what_it_says_of_a_clip_that_begins_where_the_stream_does(actions_file):
    data = SyntheticActions(str(actions_file), step_time=0.25)
    torch.manual_seed(0)
    network = RULSTM(data.num_classes, data.feature_dim, hidden_dim=8).eval()
    network.steps_to_action = 4
    moments = list(stream(network, data, VIDEO, start=3.0, stop=6.0))
    frames = np.array([moment.frame for moment in moments])
    clip = torch.from_numpy(data.store.features_at(VIDEO, frames)).unsqueeze(0)
    for last in (1, len(frames)):
        best = network(clip[:, :last])[0, -1].softmax(dim=0).topk(TOP)
        top = moments[last - 1].top
        assert [name for name, _ in top] == [data.vocabulary[a] for a in best.indices]
        assert [prob for _, prob in top] == pytest.approx(best.values.tolist(), rel=1e-4)


@pytest.mark.parametrize(("gap", "token"), [(1.0, 11), (0.5, 10)])
def test_testra_says_what_it_says_of_the_window_that_ends_after_a_tick(actions_file, gap, token):
    data = SyntheticActions(str(actions_file), anticipation_time=gap, windows=TickWindows())
    torch.manual_seed(0)
    sizes = {"num_verbs": 3, "num_nouns": 4, "hidden_dim": 8, "num_heads": 2}
    network = TeSTra(data.num_classes, data.feature_dim, **sizes).eval()
    moments = list(stream(network, data, VIDEO))
    last = data.store.num_frames(VIDEO)
    assert [one.frame for one in moments] == [1 + 30 * tick // 4 for tick in range(len(moments))]
    assert last - 8 < moments[-1].frame <= last
    assert [float(one.time) for one in moments[:3]] == [0.0, 0.25, 0.5]
    for newest in (0, 3, 30):
        ticks = [max(0, newest - back) for back in range(18, -1, -2)]
        frames = np.array([moments[tick].frame for tick in ticks])
        window = torch.from_numpy(data.store.features_at(VIDEO, frames)).unsqueeze(0)
        best = network(window).action[0, token, 1:].softmax(dim=0).topk(TOP)
        top = moments[newest].top
        assert [name for name, _ in top] == [data.vocabulary[a] for a in best.indices]
        assert [prob for _, prob in top] == pytest.approx(best.values.tolist(), rel=1e-4)
    assert next(stream(network, data, VIDEO, start=2.5)).frame == 76


def test_steps_that_are_no_whole_number_of_frames_never_drift(actions_file):
    data = SyntheticActions(str(actions_file), step_time=0.1, anticipation_time=1.0)
    torch.manual_seed(0)
    network = AGA(data.num_classes, data.feature_dim, hidden_dim=8, num_heads=2).eval()
    moments = list(stream(network, data, VIDEO, start=0.1, stop=9.0))
    assert [moment.frame for moment in moments] == list(range(3, 271, 3))


def test_the_live_table_keeps_the_last_moments(capsys, checkpoint, actions_file):
    capsys.readouterr()
    main(["stream", str(actions_file), "--ckpt", str(checkpoint), "--video", VIDEO, "--stop=9"])
    shown = capsys.readouterr().out
    assert all(time in shown for time in ("6.00 s", "7.00 s", "8.00 s", "9.00 s"))
    assert "%" in shown


def test_a_checkpoint_of_other_data_is_refused_or_marked(lines, capsys, other_actions_file):
    with pytest.raises(SystemExit):
        lines("--stop=2", data=other_actions_file)
    assert "another data file" in capsys.readouterr().err
    (*_, last) = lines("--stop=2", "--allow_foreign_checkpoint", "true", data=other_actions_file)
    assert last["caveat"].startswith("foreign checkpoint: another data file")
    assert "caveat" not in lines("--stop=2")[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--video", "P99_1"], "no video 'P99_1'"),
        (["--video", VIDEO, "--start", "100000"], "nothing to see in P01_000 from 100000 s"),
        (["--video", VIDEO, "--start", "5", "--stop", "4"], "--start first"),
    ],
)
def test_mistakes_are_one_line(capsys, checkpoint, actions_file, options, message):
    with pytest.raises(SystemExit) as exit_:
        main(["stream", str(actions_file), "--ckpt", str(checkpoint), *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err
