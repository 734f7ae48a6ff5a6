from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from tcae.evaluation.calibration import Calibration
from tcae.evaluation.linear_probe import (
    LinearProbe,
    ProbeConfig,
    class_weights,
    fit_probe,
    load_probe,
    save_probe,
)

NAMES = ("AU01", "AU12")


def problem(seed: int = 0, frames: int = 400, width: int = 5):
    """Overlapping classes, unbalanced, on features of very different scale and offset."""
    rng = np.random.default_rng(seed)
    clean = rng.normal(size=(frames, width))
    logits = clean @ rng.normal(size=(width, 2)) - [1.0, 1.5]
    labels = (logits + rng.logistic(size=logits.shape) > 0).astype(float)
    labels[rng.random(labels.shape) < 0.2] = np.nan
    features = (clean * [1, 100, 0.01, 5, 1] + [0, 7, 0, -900, 3]).astype(np.float32)
    return features, labels


def test_is_batch_norm_and_a_linear_layer_without_bias():
    probe = LinearProbe(4, NAMES)
    rng = np.random.default_rng(0)
    mean, var, gain, shift = rng.random((4, 4)) + 0.5
    weight, x = rng.normal(size=(2, 4)), rng.normal(size=(7, 4))
    state = {
        "norm.running_mean": mean,
        "norm.running_var": var,
        "norm.weight": gain,
        "norm.bias": shift,
        "linear.weight": weight,
        "norm.num_batches_tracked": np.array(1),
    }
    probe.load_state_dict({k: torch.from_numpy(np.asarray(v)) for k, v in state.items()})
    expected = ((x - mean) / np.sqrt(var) * gain + shift) @ weight.T
    got = probe.scores(x.astype(np.float32))
    np.testing.assert_allclose(got, 1 / (1 + np.exp(-expected)), rtol=1e-5)


def test_class_weights_by_hand():
    nan = np.nan
    labels = np.array([[1, 0, nan], [0, 0, nan], [0, 0, nan], [0, nan, nan], [nan, nan, nan]])
    negative, positive = class_weights(labels)
    # AU 1: 4 known, 1 positive: 4 / (2 * 3) and 4 / (2 * 1). The others have one class or none.
    np.testing.assert_allclose(negative, [2 / 3, 0, 0])
    np.testing.assert_allclose(positive, [2, 0, 0])


@pytest.mark.parametrize("l2", [0.0, 40.0])
def test_finds_the_optimum_of_balanced_logistic_regression_on_the_known_labels(l2):
    features, labels = problem()
    config = ProbeConfig(steps=1000, batch_size=400, learning_rate=0.05, l2=l2)
    got = fit_probe(features, labels, NAMES, config=config).scores(features)
    scaled = (features - features.mean(0)) / features.std(0)
    for a in range(2):
        known = ~np.isnan(labels[:, a])
        truth = LogisticRegression(C=1 / (l2 or 1e-9), class_weight="balanced", max_iter=1000)
        truth.fit(scaled[known], labels[known, a])
        np.testing.assert_allclose(got[:, a], truth.predict_proba(scaled)[:, 1], atol=2e-3)


def test_the_scale_of_an_embedding_does_not_matter():
    features, labels = problem()
    config = ProbeConfig(steps=50)
    got, small = (
        fit_probe(x, labels, NAMES, config=config).scores(x)
        for x in (features, (features * 2.0**-6).astype(np.float32))
    )
    np.testing.assert_allclose(got, small, atol=1e-3)


def test_minibatches_come_close_to_the_whole_batch():
    features, labels = problem(frames=600)
    whole, small = (
        fit_probe(
            features,
            labels,
            NAMES,
            config=ProbeConfig(steps=600, batch_size=size),
        ).scores(features)
        for size in (600, 128)
    )
    assert np.abs(whole - small).max() < 0.05


def test_seed_decides_the_bits_and_the_number_of_threads_does_not():
    features, labels = problem(frames=700)
    config = ProbeConfig(steps=30, batch_size=256)
    weights = []
    for seed, threads in ((0, 1), (0, 2), (1, 1)):
        torch.set_num_threads(threads)
        torch.rand(3)  # the global generator must not matter
        probe = fit_probe(features, labels, NAMES, config=config, seed=seed)
        assert torch.get_num_threads() == threads
        weights.append(probe.linear.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_units_with_one_class_are_left_out_and_change_nothing():
    features, labels = problem(frames=300)
    config = ProbeConfig(steps=20)
    more = np.column_stack([np.zeros(300), labels[:, 0], np.full(300, np.nan), labels[:, 1]])
    probe = fit_probe(features, more, ("AU09", *NAMES[:1], "AU43", *NAMES[1:]), config=config)
    alone = fit_probe(features, labels, NAMES, config=config)
    assert probe.names == NAMES
    assert torch.equal(probe.linear.weight, alone.linear.weight)


@pytest.mark.parametrize("frames", [0, 1, 50])
def test_nothing_to_learn(frames):
    with pytest.raises(ValueError, match=rf"labels: {frames} labelled frames came and 0 action"):
        fit_probe(np.zeros((frames, 5), np.float32), np.zeros((frames, 2)), NAMES)


def test_file_round_trip(tmp_path):
    features, labels = problem()
    probe = fit_probe(features, labels, NAMES, config=ProbeConfig(steps=5))
    probe.embedding, probe.encoder = "pose", "abc"
    save_probe(tmp_path / "probe.safetensors", probe)
    for path in (tmp_path, tmp_path / "probe.safetensors"):
        again = load_probe(path)
        assert (again.names, again.embedding, again.encoder) == (NAMES, "pose", "abc")
        same = again.scores(features) == probe.scores(features)
        assert same.all()
    assert [path.name for path in tmp_path.iterdir()] == ["probe.safetensors"]


def test_bad_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"probe\.safetensors: no such file; a probe comes from"):
        load_probe(tmp_path)
    (tmp_path / "text").write_text("no tensors")
    with pytest.raises(ValueError, match="text: damaged or not a safetensors file"):
        load_probe(tmp_path / "text")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(
        ValueError, match=r"other\.safetensors: a safetensors file, but not a tcae-probe"
    ):
        load_probe(tmp_path / "other.safetensors")


def test_a_calibration_is_kept_with_the_probe(tmp_path):
    features, labels = problem()
    probe = fit_probe(features, labels, NAMES, config=ProbeConfig(steps=5))
    with pytest.raises(ValueError, match="probe: it was not calibrated, so it has scores and no"):
        probe.probabilities(features)
    presence = np.array([[0.5, 2.0], [-1.0, 0.25]])
    probe.calibration = Calibration(presence, np.array([0.3, 0.6]), *np.ones((2, 2)))
    save_probe(tmp_path / "probe.safetensors", probe)
    again = load_probe(tmp_path)
    logits = np.log(again.scores(features) / (1 - again.scores(features)))
    expected = 1 / (1 + np.exp(-(logits * [0.5, 2.0] + [-1.0, 0.25])))
    np.testing.assert_allclose(again.probabilities(features), expected, rtol=1e-4)
    np.testing.assert_array_equal(again.decisions(features), expected >= [0.3, 0.6])
    with pytest.raises(ValueError, match="calibration: it was fitted without intensities"):
        again.intensities(features)
    again.calibration = Calibration(presence, *np.ones((3, 2)), presence[::-1].copy())
    save_probe(tmp_path / "probe.safetensors", again)
    expected = 5 / (1 + np.exp(-(logits * [-1.0, 0.25] + [0.5, 2.0])))
    np.testing.assert_allclose(load_probe(tmp_path).intensities(features), expected, rtol=1e-4)


def test_a_file_without_a_calibration(tmp_path):
    """They hold the state of the module and nothing else."""
    probe = LinearProbe(5, NAMES)
    save_probe(tmp_path / "probe.safetensors", probe)
    assert set(load_file(tmp_path / "probe.safetensors")) == set(probe.state_dict())
    assert load_probe(tmp_path).calibration is None
