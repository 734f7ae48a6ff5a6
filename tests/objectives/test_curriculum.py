"""The curriculum: hand-computed cases, and properties over wide input."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tcae.objectives.curriculum import (
    CURRICULUM_PRESETS,
    Curriculum,
    CurriculumConfig,
    in_window,
)

NAN, INF = math.nan, math.inf


def one_window(low: float, high: float, order: str = "sample") -> Curriculum:
    return Curriculum(CurriculumConfig(windows=((low, high),), order=order))  # type: ignore[arg-type]


def test_samples_are_sorted_by_the_weighted_total() -> None:
    a = torch.tensor([1.0, 2.0, 3.0, 4.0])
    b = torch.tensor([9.0, 1.0, 0.0, 5.0])
    # Totals 2a + b: 11, 5, 6, 13. The easiest half: samples 1 and 2.
    found = one_window(0, 0.5).loss({"a": a, "b": b}, {"a": 2.0, "b": 1.0})
    assert found.item() == (5 + 6) / 2


def test_each_term_is_sorted_alone() -> None:
    a = torch.tensor([1.0, 2.0, 3.0, 4.0])
    b = torch.tensor([9.0, 1.0, 0.0, 5.0])
    # Easiest half of a: 1, 2; of b: 0, 1.
    found = one_window(0, 0.5, "term").loss({"a": a, "b": b}, {"a": 2.0, "b": 1.0})
    assert found.item() == 2 * 1.5 + 0.5


def test_both_orders_agree_when_every_sample_learns() -> None:
    terms = {"a": torch.rand(7), "b": torch.rand(7)}
    weights = {"a": 0.3, "b": 2.0}
    by_sample, by_term = (one_window(0, 1, r).loss(terms, weights) for r in ("sample", "term"))
    torch.testing.assert_close(by_sample, by_term)


def test_only_the_window_gets_gradient() -> None:
    losses = torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0, 6.0, 8.0, 7.0, 10.0, 9.0], requires_grad=True)
    one_window(0.1, 0.6).loss({"rec": losses}, {"rec": 3.0}).backward()
    expected = torch.tensor([0.6 if 2 <= v <= 6 else 0.0 for v in losses.tolist()])
    torch.testing.assert_close(losses.grad, expected)


def test_terms_without_a_weight_do_not_count() -> None:
    terms = {"rec": torch.ones(4), "dead": torch.full((4,), NAN)}
    assert one_window(0, 0.5).loss(terms, {"rec": 1.0}).item() == 1


def test_ties_keep_the_batchs_order_and_nan_comes_last() -> None:
    mask, count = in_window(torch.tensor([2.0, NAN, 1.0, INF, 1.0, 2.0]), (0, 0.5))
    assert mask.tolist() == [True, False, True, False, True, False] and count == 3
    mask, _ = in_window(torch.tensor([NAN, INF, 1.0]), (0, 0.7))
    assert mask.tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("window", "size", "places"),
    [
        ((0.0, 0.5), 64, (0, 32)),
        ((0.1, 0.6), 64, (6, 38)),
        ((0.4, 0.9), 64, (25, 57)),
        ((0.29, 0.58), 100, (29, 58)),  # 0.29 * 100 is 28.999999999999996
        ((0.0, 0.5), 3, (0, 1)),
        ((0.0, 0.5), 1, (0, 1)),
        ((0.9, 1.0), 1, (0, 1)),
        ((0.2, 0.3), 2, (0, 1)),
        ((1 - 1e-12, 1.0), 10, (9, 10)),
    ],
)
def test_places_in_small_batches(
    window: tuple[float, float], size: int, places: tuple[int, int]
) -> None:
    mask, count = in_window(torch.arange(size).float(), window)
    assert mask.nonzero().flatten().tolist() == list(range(*places))
    assert count == places[1] - places[0]


@given(
    losses=st.lists(st.floats(width=32), min_size=1, max_size=40),
    percent=st.tuples(st.integers(0, 99), st.integers(1, 100)).filter(lambda w: w[0] < w[1]),
)
def test_window_is_exact_and_nan_is_last(losses: list[float], percent: tuple[int, int]) -> None:
    size = len(losses)
    first, last = percent[0] * size // 100, percent[1] * size // 100
    numbers = [i for i in range(size) if not math.isnan(losses[i])]
    order = sorted(numbers, key=lambda i: (losses[i], i))
    order += [i for i in range(size) if math.isnan(losses[i])]
    mask, count = in_window(torch.tensor(losses), (percent[0] / 100, percent[1] / 100))
    assert set(mask.nonzero().flatten().tolist()) == set(order[first : max(last, first + 1)])
    assert mask.sum() == count >= 1


def moves(curriculum: Curriculum, losses: list[float]) -> list[bool]:
    return [curriculum.observe(loss) for loss in losses]


def three_windows(patience: int) -> Curriculum:
    windows = ((0.0, 0.5), (0.1, 0.6), (0.2, 0.7))
    return Curriculum(CurriculumConfig(windows=windows, patience=patience))


def test_window_moves_after_patience_without_a_new_best() -> None:
    curriculum = three_windows(patience=2)
    assert moves(curriculum, [5, 4, 4.5, 3.9, 4, 3.9]) == [False] * 5 + [True]
    assert curriculum.window == (0.1, 0.6)
    # A new count begins: the first loss after a move is the best so far, however large.
    assert moves(curriculum, [9, 9, 9]) == [False, False, True]
    assert curriculum.window == (0.2, 0.7)
    assert moves(curriculum, [9] * 20) == [False] * 20
    assert curriculum.window == (0.2, 0.7)


@pytest.mark.parametrize("bad", [NAN, INF, -INF])
def test_a_loss_that_is_no_number_is_passed_over(bad: float) -> None:
    curriculum = three_windows(patience=2)
    assert moves(curriculum, [bad] * 9 + [1.0, bad, 2.0, bad, bad, 0.5, 2.0, bad, 3.0]) == (
        [False] * 17 + [True]
    )


@given(st.lists(st.floats(-10, 10) | st.sampled_from([NAN, INF, -INF]), max_size=60))
def test_moves_follow_the_rule(losses: list[float]) -> None:
    """The rule again, from the whole history: `patience` losses since the first lowest one."""
    curriculum = three_windows(patience=3)
    since: list[float] = []
    position = 0
    for loss in losses:
        since += [loss] if math.isfinite(loss) else []
        stale = len(since) - 1 - since.index(min(since)) if since else 0
        expected = position < 2 and math.isfinite(loss) and stale >= 3
        assert curriculum.observe(loss) is expected
        if expected:
            position, since = position + 1, []
        assert curriculum.window == curriculum.config.windows[position]


@given(st.lists(st.floats(0, 1), max_size=30), st.lists(st.floats(0, 1), max_size=30))
def test_a_restored_state_goes_on_alike(before: list[float], after: list[float]) -> None:
    first, second = three_windows(patience=2), three_windows(patience=2)
    moves(first, before)
    state = first.state_dict()
    assert all(type(value) in (int, float) for value in state.values())
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert moves(first, after) == moves(second, after)
    assert first.state_dict() == second.state_dict()


def test_a_state_of_another_configuration_is_refused() -> None:
    curriculum = one_window(0, 1)
    with pytest.raises(ValueError, match=r"window 2, .*windows has 1"):
        curriculum.load_state_dict({"window": 2, "best": 0.5, "stale": 0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"windows": ()}, "windows is empty"),
        ({"windows": ((0.5, 0.5),)}, r"windows holds \(0.5, 0.5\)"),
        ({"windows": ((0.0, 1.1),)}, "windows holds"),
        ({"windows": ((NAN, 1.0),)}, "windows holds"),
        ({"patience": 0}, "patience is 0"),
        ({"order": "batch"}, "order is 'batch'"),
    ],
)
def test_impossible_configs_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CurriculumConfig(**change)  # type: ignore[arg-type]


def test_presets() -> None:
    paper, official = CURRICULUM_PRESETS["paper"], CURRICULUM_PRESETS["official"]
    assert paper.windows == ((0, 0.5), (0.1, 0.6), (0.2, 0.7)) and paper.order == "sample"
    assert official.windows == (*paper.windows, (0.3, 0.8), (0.4, 0.9))
    assert official.order == "term" and official.patience == 16
    assert CURRICULUM_PRESETS["default"].windows == ((0, 1),)
