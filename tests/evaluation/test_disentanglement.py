from __future__ import annotations

import numpy as np
import pytest

from tcae.evaluation.disentanglement import (
    GOALS,
    Prediction,
    Truth,
    flow_length,
    image_error,
    pair_measures,
    pair_values,
    pose_r2,
)

PEOPLE = ["anna", "bert"]


def flat(values: list[float]) -> np.ndarray:
    """Grey pictures (N, 3, 4, 4)."""
    return np.broadcast_to(np.array(values)[:, None, None, None], (len(values), 3, 4, 4))


def shift(x: float, y: float) -> np.ndarray:
    """The same motion everywhere in two pictures, (2, 2, 4, 4)."""
    return np.broadcast_to(np.array([x, y])[None, :, None, None], (2, 2, 4, 4)).copy()


def case(**prediction: np.ndarray) -> dict[str, float]:
    """Two pairs: sources black, targets .4 and .8 grey; the face is the upper half."""
    face = np.zeros((2, 4, 4), bool)
    face[:, :2] = True
    truth = Truth(
        au_changed=flat([0.1, 0.3]), pose_changed=flat([0.2, 0.6]),
        au_flow=shift(0.03, 0.04), pose_flow=shift(0.3, -0.4), au_face=face, pose_face=face,
        au_warped=flat([0.05, 0.25]), pose_warped=flat([0.2, 0.6]),
    )  # fmt: skip
    nothing = {"au_flow": shift(0, 0), "pose_flow": shift(0, 0)} | {
        name: flat([0.0, 0.0]) for name in ("reconstruction", "au_changed", "pose_changed")
    }
    values = pair_values(
        flat([0, 0]), flat([0.4, 0.8]), Prediction(**(nothing | prediction)), truth
    )
    return {name: estimate.value for name, estimate in pair_measures(values, PEOPLE).items()}


def test_a_model_that_does_nothing_gains_nothing():
    figures = case()
    assert figures["recon_ratio"] == pytest.approx(1)
    for name in ("au_flow_epe_gain", "pose_flow_epe_gain", "au_image_gain", "pose_image_gain"):
        assert figures[name] == pytest.approx(0)
    assert figures["flow_length_ratio_true"] == pytest.approx(10)
    assert np.isnan(figures["flow_length_ratio"])


def test_figures_by_hand():
    half = shift(0.03, 0.0)
    half[:, :, 2:] = 99  # outside the face: nobody looks
    figures = case(
        reconstruction=flat([0.4, 0.5]), au_changed=flat([0.2, 0.3]),
        pose_changed=flat([0.2, 0.2]), au_flow=half, pose_flow=shift(0.3, -0.1),
    )  # fmt: skip
    assert figures["recon_ratio"] == pytest.approx(0.3 / 1.2)
    assert figures["au_flow_epe_gain"] == pytest.approx(1 - 0.04 / 0.05)
    assert figures["pose_flow_epe_gain"] == pytest.approx(1 - 0.3 / 0.5)
    assert figures["flow_length_ratio"] == pytest.approx(np.hypot(0.3, 0.1) / 0.03)
    assert figures["au_image_gain"] == pytest.approx(1 - 0.1 / 0.4)
    assert figures["pose_image_gain"] == pytest.approx(1 - 0.4 / 0.8)
    assert figures["au_image_gain_exact"] == pytest.approx(1 - 0.1 / 0.4)
    assert figures["pose_image_gain_exact"] == pytest.approx(1)


def test_swapped_branches_are_seen():
    figures = case(au_flow=shift(0.3, -0.4), pose_flow=shift(0.03, 0.04))
    assert figures["au_flow_epe_gain"] < -5
    assert figures["flow_length_ratio"] == pytest.approx(0.1)


def test_without_truth_there_are_two_measures():
    prediction = Prediction(
        flat([0.1, 0]), flat([0, 0]), flat([0, 0]), shift(0, 0.1), shift(0.2, 0)
    )
    values = pair_values(flat([0, 0]), flat([0.4, 0.8]), prediction, None)
    figures = pair_measures(values, PEOPLE)
    assert set(figures) == {"recon_ratio", "flow_length_ratio"}
    assert figures["flow_length_ratio"].value == pytest.approx(2)


def test_lengths_and_errors():
    flow = shift(3, 4)
    np.testing.assert_allclose(flow_length(flow), [5, 5])
    np.testing.assert_array_equal(flow_length(flow, np.zeros((2, 4, 4), bool)), [0, 0])
    np.testing.assert_allclose(image_error(flat([0.25, 0.5]), flat([0.5, 0.0])), [0.25, 0.5])


def test_pose_is_found_where_it_is_and_nowhere_else():
    random = np.random.default_rng(0)
    people = [f"p{i // 30}" for i in range(360)]
    pose = random.normal(0, [13, 7, 5], (360, 3))
    found = pose_r2(pose @ random.normal(0, 1, (3, 16)) + 3, pose, people)
    assert found.low > 0.999
    nothing = pose_r2(random.normal(0, 1, (360, 16)), pose, people)
    assert nothing.high < 0.05
    two_of_three = pose_r2(pose[:, :2], pose, people)
    assert two_of_three.value == pytest.approx(2 / 3, abs=0.03)


def test_goals_are_judged_by_the_figures():
    good = {
        "recon_ratio": 0.4, "au_auc": 0.85, "au_auc_low": 0.84, "au_auc_random": 0.6,
        "au_auc_pixels": 0.7, "au_auc_fabnet": 0.65, "au_auc_from_pose": 0.79,
        "pose_r2_from_pose": 0.9,
        "pose_r2_from_au": 0.1, "flow_length_ratio": 7.0, "flow_length_ratio_true": 3.6,
        "au_flow_epe_gain": 0.3, "pose_flow_epe_gain": 0.7, "au_image_gain": 0.2,
        "pose_image_gain": 0.5, "clips_correlation": 0.6,
    }  # fmt: skip
    judged = {name: goal.reached(good) for name, goal in GOALS.items() if goal.wanted}
    assert set(judged.values()) == {True}
    for name in judged:
        assert GOALS[name].reached({}) is None
    assert GOALS["au_auc"].reached(good | {"au_auc_fabnet": 0.845}) is False
    del good["au_auc_fabnet"]
    assert GOALS["au_auc"].reached(good) is None  # nobody knows
    assert GOALS["au_auc"].reached(good | {"au_auc_pixels": 0.845}) is False
    assert GOALS["flow_length_ratio"].reached(good | {"flow_length_ratio": 7.3}) is False
    assert GOALS["flow_length_ratio"].reached(good | {"flow_length_ratio": 1.7}) is False
    assert GOALS["au_auc_from_pose"].reached(good | {"au_auc_from_pose": 0.81}) is False
    assert GOALS["au_auc_random"].reached(good) is None
