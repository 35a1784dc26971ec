"""The study of solvers: what is compared with what, and what it writes."""

import csv
import json
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from anticipate.cli import main
from anticipate.lab.benchmark.mixant_speed import make_network
from anticipate.lab.benchmark.solvers import (
    PROTOCOL,
    SETTING,
    SOLVER,
    STUDIED,
    Solver,
    compare,
    fewest_steps,
    measure,
    sampling_noise,
)
from anticipate.models import DiffusionAnticipator
from anticipate.types import DenseBatch

pytestmark = pytest.mark.slow

FEW, MANY = Solver("unipc", 2), Solver("unipc", 5, "trailing")


MEAN = [[30.0, 20.0], [32.0, 22.0]]
TOP1 = [[50.0, 40.0], [54.0, 44.0]]
"""Of two seeds and two settings: Mean MoC of the seeds differs by 2 points, Top-1 MoC by 4."""


def scores_of(solver=PROTOCOL, mean=0.0, top1=0.0, seeds=(0, 1)):
    """Those above, shifted."""
    rows = [
        (*solver, seed, "0.2", pred, MEAN[seed][one] + mean, TOP1[seed][one] + top1)
        for seed in seeds
        for one, pred in enumerate(("0.1", "0.2"))
    ]
    return pd.DataFrame(rows, columns=[*SOLVER, "seed", *SETTING, *STUDIED])


def judged(*within):
    """Comparisons of one solver with 1, 2, 3 .. steps that are or are not within the noise."""
    rows = [("ddim", steps, one) for steps, one in enumerate(within, 1)]
    return pd.DataFrame(reversed(rows), columns=["method", "steps", "within_noise"])


def make_model(**settings):
    return DiffusionAnticipator(
        num_classes=5,
        feature_dim=8,
        sample_rate=3,
        denoiser=lambda num_classes, feature_dim: make_network(quick=True),
        num_samples=3,
        **settings,
    ).eval()


def make_batch(tokens=14, num_frames=60):
    """One video at both observation ratios."""
    generator = torch.Generator().manual_seed(0)
    num_observed = torch.tensor([[4], [6]])
    return DenseBatch(
        features=torch.randn(2, 6, 8, generator=generator),
        targets=torch.zeros(2, tokens, dtype=torch.int64),
        observed=torch.arange(tokens) < num_observed,
        valid=torch.ones(2, tokens, dtype=torch.bool),
        frame_targets=torch.arange(num_frames).mul(5).div(num_frames).long().repeat(2, 1),
        num_frames=torch.full((2,), num_frames * 2 // 3),
        obs_ratios=(0.2, 0.3),
        video_ids=("video", "video"),
    )


def test_noise_is_what_the_seed_does_to_the_mean_over_settings():
    both = pd.concat([scores_of(FEW, 9, 9), scores_of()])
    np.testing.assert_allclose(sampling_noise(both), [2**0.5, 8**0.5])


@pytest.mark.parametrize(
    ("mean_shift", "top1_shift", "within"), [(1.4, -2.8, True), (1.5, 0, False), (0, -2.9, False)]
)
def test_a_solver_must_be_within_the_noise_of_both_measures(mean_shift, top1_shift, within):
    found = compare(pd.concat([scores_of(), scores_of(FEW, mean_shift, top1_shift)]))
    assert found["within_noise"].tolist() == [True, within]
    shifts = found.loc[1, ["mean_moc_difference", "top1_moc_difference"]].tolist()
    assert shifts == pytest.approx([mean_shift, top1_shift])
    assert found.loc[1, STUDIED].tolist() == pytest.approx([26 + mean_shift, 47 + top1_shift])


@pytest.mark.parametrize(
    ("within", "fewest"),
    [
        ((False, False, True, True), 3),
        ((True, False, True, True), 3),
        ((True, True), 1),
        ((True, False), None),
    ],
)
def test_the_fewest_steps_are_those_from_which_on_all_are_within_the_noise(within, fewest):
    assert fewest_steps(judged(*within)) == {"ddim": fewest}


def test_scores_are_those_that_a_test_with_the_same_settings_logs(capsys):
    batch = make_batch()
    model = make_model(seed=7)
    found = measure(model, [batch, batch], [FEW, MANY], num_seeds=2)
    assert len(found) == 2 * 2 * 8
    assert found[SETTING].head(2).values.tolist() == [["0.2", "0.1"], ["0.2", "0.2"]]
    for seed in range(2):
        settings = {"sampler": "unipc", "num_inference_steps": 5, "timestep_spacing": "trailing"}
        tested = make_model(seed=7 + seed, **settings)
        tested.load_state_dict(model.state_dict())
        for _ in range(2):
            tested.test_step(batch)
        scores = tested.compute_scores().values()
        many = found[(found["sampler"] == "unipc") & (found["steps"] == 5)]
        for name in STUDIED:
            expected = [value for document in scores for value in document[name].values()]
            np.testing.assert_allclose(many[many["seed"] == 7 + seed][name], expected)
    assert not np.array_equal(found[STUDIED][:16], found[STUDIED][16:])
    assert (model.sampler, model.num_inference_steps, model.seed) == ("ddim", 50, 7)
    assert model.timestep_spacing == "leading"
    assert capsys.readouterr().err.splitlines() == [f"batch {n}: video, video" for n in (1, 2)]


@pytest.fixture(scope="module")
def checkpoint(demo_run):
    """A tiny MixANT, trained for three steps."""
    return demo_run / "checkpoints" / "last.ckpt"


def study(checkpoint, *options):
    main(["benchmark", "solvers", "--ckpt", str(checkpoint), "--seeds", "2", *options])


def test_the_study_of_a_checkpoint_is_one_document_with_curve_and_table(
    checkpoint, tmp_path, capsys
):
    options = ["--steps", "2", "3", "--videos", "1", "--output", str(tmp_path / "new"), "--json"]
    study(checkpoint, *options)
    document = json.loads(capsys.readouterr().out)
    assert (document["num_videos"], document["num_samples"], document["seeds"]) == (1, 2, [0, 1])
    assert document["synthetic"]
    solvers = [(row["sampler"], row["spacing"], row["steps"]) for row in document["solvers"]]
    assert solvers == [
        ("ddim", "leading", 50),
        *product(("ddim", "dpmsolver++", "unipc"), ("leading", "trailing"), (2, 3)),
    ]
    assert document["solvers"][0]["difference"] == {"mean_moc": 0.0, "top1_moc": 0.0}
    names = {"ddim", "dpmsolver++", "unipc"}
    assert document["fewest_steps"].keys() == names | {f"{name}, trailing" for name in names}
    with (tmp_path / "new/solvers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13 * 2 * 8
    shown = document["solvers"][1]["settings"]["top1_moc"]["0.2 / 0.5"]
    cells = [
        float(row["top1_moc"])
        for row in rows
        if [row[name] for name in ("sampler", "steps", "spacing", "obs_ratio", "pred_ratio")]
        == ["ddim", "2", "leading", "0.2", "0.5"]
    ]
    assert shown == pytest.approx(sum(cells) / 2)
    assert (tmp_path / "new/solvers.png").stat().st_size > 10_000


def test_the_table_states_the_criterion_and_the_answer(checkpoint, capsys, monkeypatch):
    others = {Solver("ddim", 2): 9, Solver("ddim", 5): 1, Solver("unipc", 3, "trailing"): 9}
    scores = pd.concat([scores_of(), *(scores_of(one, gap, gap) for one, gap in others.items())])
    monkeypatch.setattr("anticipate.lab.benchmark.solvers.measure", lambda *_: scores)
    study(checkpoint)
    out = " ".join(capsys.readouterr().out.split())
    assert "at most the standard deviation of DDIM-50 between noise seeds" in out
    assert "(1.41 and 2.83 points here)" in out
    assert "ddim 2 35.0 +9.00 56.0 +9.00 no ddim 5 27.0 +1.00 48.0 +1.00 yes" in out
    assert "ddim: fewest steps from which on it stays within noise: 5 steps" in out
    assert "unipc, trailing: fewest steps from which on it stays within noise: none" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--seeds", "1"], "1 seed shows no noise"),
        (["--steps", "0"], "'0' is not a number of at least 1"),
        (["--steps", "1001"], "must lie between 1 and num_train_timesteps (1000), got 1001"),
    ],
)
def test_mistakes_are_one_line(checkpoint, capsys, options, message):
    with pytest.raises(SystemExit) as exit_:
        main(["benchmark", "solvers", "--ckpt", str(checkpoint), *options])
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]
