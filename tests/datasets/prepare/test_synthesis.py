import math
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from anticipate.datasets.breakfast import Breakfast
from anticipate.datasets.release import mstcn, synthesis
from anticipate.datasets.release.releases import LabelledVideo
from anticipate.datasets.release.synthesis import LATENT_DIM, SyntheticFeatures, separation
from anticipate.datasets.synthetic import invent


def video(labels, name="v", activity="tea"):
    labels = np.asarray(labels, np.int16)
    return LabelledVideo(name, labels, activity, len(labels))


def rows(source, item):
    return np.concatenate(list(source.rows(item)))


def probe_accuracy(release, feature_dim, every):
    """Accuracy of a linear classifier on single frames of the held-out videos of split 1."""
    source = SyntheticFeatures(len(release.classes), feature_dim, release.fps, every)
    parts = {}
    for part, ids in release.splits["1"].items():
        videos = [item for item in release.videos if item.video_id in set(ids)]
        features = np.concatenate([rows(source, item) for item in videos])
        labels = np.concatenate([item.labels[::every] for item in videos])
        chosen = np.random.default_rng(0).permutation(len(labels))[:20_000]
        parts[part] = features[chosen], labels[chosen]
    probe = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=1e-3).fit(*parts["train"])
    return probe.score(*parts["test"])


@pytest.mark.parametrize("feature_dim", [16, 64, 256])
def test_a_linear_probe_names_65_percent_of_frames_at_every_width(feature_dim):
    assert 0.60 < probe_accuracy(invent(144), feature_dim, every=5) < 0.70


@pytest.mark.slow
@pytest.mark.labels
@pytest.mark.parametrize("feature_dim", [64, 256])
def test_a_linear_probe_names_65_percent_of_frames_of_real_labels(tmp_path, feature_dim):
    folder = os.environ.get("ANTICIPATE_LABELS")
    if folder is None:
        pytest.skip("ANTICIPATE_LABELS names no folder of real labels")
    with tarfile.open(Path(folder) / "breakfast.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    source = next(tmp_path.rglob("mapping.txt")).parent
    release = mstcn.read_annotation("breakfast", Breakfast.published, Breakfast.activity_of, source)
    assert 0.60 < probe_accuracy(release, feature_dim, every=45) < 0.70


def test_more_classes_need_more_separation():
    values = [separation(num_classes) for num_classes in (2, 19, 48, 202)]
    assert values == sorted(values)
    assert values[2] == pytest.approx(2.41, abs=0.01)
    assert values[3] == pytest.approx(2.64, abs=0.01)


@settings(max_examples=10, deadline=None)
@given(cut=st.integers(1, 60), seed=st.integers(0, 5))
def test_a_video_has_the_same_features_whatever_comes_before(cut, seed):
    first, second = (SyntheticFeatures(5, 8, 10.0, 1, seed=seed) for _ in range(2))
    rows(second, video([0, 1], "other"))
    labels = np.arange(60) // 13
    np.testing.assert_array_equal(rows(first, video(labels)), rows(second, video(labels)))
    partly = video(labels)._replace(num_feature_frames=cut)
    assert len(rows(first, partly)) == cut


@pytest.mark.parametrize("change", [{"seed": 1}, {"noise": 0.5}])
def test_settings_change_the_features_and_the_fingerprint(change):
    source, other = SyntheticFeatures(5, 8, 10.0, 1), SyntheticFeatures(5, 8, 10.0, 1, **change)
    item = video([0, 1, 2])
    assert not np.array_equal(rows(source, item), rows(other, item))
    assert source.fingerprint() != other.fingerprint()
    assert source.describe() != other.describe()


def test_without_noise_a_frame_depends_only_on_class_and_activity():
    source = SyntheticFeatures(3, 16, 10.0, 1, noise=0.0)
    first = rows(source, video([0, 0, 1, 2, 0], "a"))
    np.testing.assert_allclose(first[0], first[4], atol=1e-6)
    np.testing.assert_allclose(first[:1], rows(source, video([0], "b")), atol=1e-6)
    gap = rows(source, video([0], "b", "coffee")) - first[:1]
    length = np.linalg.norm(gap)
    assert 0 < length < 2 * synthesis.ACTIVITY * math.sqrt(16)


def test_the_width_does_not_change_the_geometry():
    item = video(np.arange(40) // 9)
    gaps = []
    for width in (64, 300):
        features = rows(SyntheticFeatures(5, width, 10.0, 1), item)
        gram = features @ features.T
        gaps.append(gram / width)
    np.testing.assert_allclose(gaps[0], gaps[1], rtol=1e-4, atol=1e-4)


def noise_of(num_classes, fps, stride, labels):
    """Return the noise of a video before channels are divided by their standard deviation."""
    noisy, clean = (
        SyntheticFeatures(num_classes, LATENT_DIM, fps, stride, noise=noise) for noise in (1.0, 0.0)
    )
    shown = [rows(source, video(labels)) * source.deviation for source in (noisy, clean)]
    return shown[0] - shown[1]


def test_a_channel_has_unit_variance():
    labels = np.repeat(np.arange(20), 200)
    features = rows(SyntheticFeatures(20, 64, 10.0, 1), video(labels))
    assert features.std() == pytest.approx(1, abs=0.05)


def test_noise_has_the_documented_parts():
    """Within a segment the noise is constant plus AR(1): reference moments over a long segment."""
    fps, stride, num_rows, num_classes = 10.0, 5, 4000, 4
    labels = np.zeros(num_rows * stride)
    noise = noise_of(num_classes, fps, stride, labels)
    scale = math.sqrt(LATENT_DIM) / separation(num_classes)
    drift = noise - noise.mean(axis=0)
    assert drift.var() == pytest.approx(scale**2 * (1 - synthesis.SEGMENT_SHARE), rel=0.05)
    correlation = (drift[1:] * drift[:-1]).mean() / drift.var()
    expected = math.exp(-stride / fps / synthesis.CORRELATION_TIME)
    assert correlation == pytest.approx(expected, abs=0.02)


def test_segments_of_one_class_differ_by_the_segment_noise():
    labels = np.repeat(np.arange(400) % 2, 40)
    noise = noise_of(2, 0.1, 1, labels)
    means = noise.reshape(400, 40, LATENT_DIM).mean(axis=1)
    variance = (math.sqrt(LATENT_DIM) / separation(2)) ** 2
    expected = variance * (synthesis.SEGMENT_SHARE + (1 - synthesis.SEGMENT_SHARE) / 40)
    assert means.var() == pytest.approx(expected, rel=0.05)


def test_long_videos_come_in_blocks_that_continue_the_drift(monkeypatch):
    item = video(np.arange(500) // 100)
    whole = rows(SyntheticFeatures(5, 8, 10.0, 1), item)
    monkeypatch.setattr(synthesis, "_BLOCK_ROWS", 64)
    blocks = list(SyntheticFeatures(5, 8, 10.0, 1).rows(item))
    assert [len(block) for block in blocks] == [64] * 7 + [52]
    np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=1e-5, atol=1e-5)
