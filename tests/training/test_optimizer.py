from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import nn

from tcae.training.optimizer import OPTIMIZER_PRESETS, Optimizer, OptimizerConfig


def optimizer(**values: object) -> Optimizer:
    return Optimizer([nn.Parameter(torch.zeros(1))], OptimizerConfig(**values))  # type: ignore[arg-type]


def test_warm_up_then_cosine() -> None:
    steps = optimizer(learning_rate=1.0, warmup_steps=10, schedule="cosine", final_share=0.1)
    rates = [steps.rate(step, 110) for step in range(110)]
    assert rates[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[109] == pytest.approx(0.1)
    middle = 10 + 99 / 2
    assert (rates[math.floor(middle)] + rates[math.ceil(middle)]) / 2 == pytest.approx(0.55)
    assert all(a > b for a, b in itertools.pairwise(rates[10:]))


def test_while_the_total_is_unknown_the_rate_does_not_depend_on_it() -> None:
    steps = optimizer(learning_rate=1.0, warmup_steps=10)
    assert [steps.rate(i, None) for i in range(10)] == [steps.rate(i, 1000) for i in range(10)]
    assert steps.rate(50, None) == 1.0


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_the_published_presets_are_sgd_at_a_constant_rate(preset: str) -> None:
    config = OPTIMIZER_PRESETS[preset]
    weight = nn.Parameter(torch.tensor([1.0]))
    steps = Optimizer([weight], config)
    velocity, value = 0.0, 1.0
    for step in range(3):
        steps.step((weight**2).sum() * 100, step, 1000)
        velocity = 0.9 * velocity + 200 * value  # momentum 0.9, no decay, no clipping
        value -= 1e-3 * velocity
        assert weight.item() == pytest.approx(value, rel=1e-5)


def test_adamw_is_that_of_its_authors() -> None:
    """Loshchilov and Hutter, algorithm 2, with plain numbers."""
    config = OptimizerConfig(
        learning_rate=0.1, betas=(0.8, 0.9), weight_decay=0.5, warmup_steps=0,
        schedule="constant", clip_norm=0.0,
    )  # fmt: skip
    weight = nn.Parameter(torch.tensor([2.0]))
    steps = Optimizer([weight], config)
    value, first, second = 2.0, 0.0, 0.0
    for step in range(1, 6):
        steps.step((weight**2).sum(), step - 1, 10)
        gradient = 2 * value
        first = 0.8 * first + 0.2 * gradient
        second = 0.9 * second + 0.1 * gradient**2
        length = math.sqrt(second / (1 - 0.9**step)) + 1e-8
        value -= 0.1 * (first / (1 - 0.8**step) / length + 0.5 * value)
        assert weight.item() == pytest.approx(value, rel=1e-5)


def test_long_gradients_are_cut() -> None:
    weight = nn.Parameter(torch.zeros(2))
    config = OptimizerConfig(
        algorithm="sgd", learning_rate=1.0, momentum=0.0, weight_decay=0.0,
        warmup_steps=0, schedule="constant", clip_norm=5.0,
    )  # fmt: skip
    update = Optimizer([weight], config).step((weight * torch.tensor([30.0, 40.0])).sum(), 0, 10)
    assert update.gradient_norm.item() == pytest.approx(50)  # as it was
    torch.testing.assert_close(weight.detach(), torch.tensor([-3.0, -4.0]))


@pytest.mark.parametrize("algorithm", ["sgd", "adamw"])
@pytest.mark.parametrize("usable", [False, None])
def test_a_step_that_is_not_usable_leaves_no_trace(
    algorithm: str, usable: bool | None, deterministic: Callable[[bool], None]
) -> None:
    """Neither as the first step nor later, whether by word or by a gradient that is not finite."""
    deterministic(True)  # torch then fills memory that nobody has set with NaN

    def train(bad: set[int]) -> list[float]:
        weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        steps = Optimizer([weight], OptimizerConfig(algorithm=algorithm))  # type: ignore[arg-type]
        for step in range(8):
            wrong = step in bad
            loss = weight.square().sum() * (math.inf if wrong and usable is None else 1)
            said = None if usable is None else torch.tensor(not wrong)
            update = steps.step(
                loss, 100 if wrong else 100 + step - sum(b < step for b in bad), 200, said
            )
            assert bool(update.moved) is not wrong
        return list(weight.detach())

    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    steps = Optimizer([weight], OptimizerConfig(algorithm=algorithm))  # type: ignore[arg-type]
    for step in range(6):
        steps.step(weight.square().sum(), 100 + step, 200)
    assert train({0, 4}) == list(weight.detach())


def test_the_plateau_waits_for_the_last_window_and_then_for_its_patience() -> None:
    steps = optimizer(
        schedule="plateau", plateau_patience=2, plateau_factor=0.5, learning_rate=1.0,
        warmup_steps=0,
    )  # fmt: skip
    assert not any(steps.observe(1.0, last_window=False) for _ in range(10))
    assert [steps.observe(loss, last_window=True) for loss in (1.0, 2.0, math.nan, 2.0)] == [
        False, False, False, True,
    ]  # fmt: skip
    assert steps.rate(5, 10) == 0.5
    assert [steps.observe(loss, last_window=True) for loss in (3.0, 0.9, 2.0, 2.0)] == [
        False, False, False, True,
    ]  # fmt: skip
    assert steps.rate(5, 10) == 0.25


def test_other_schedules_ignore_the_validation() -> None:
    steps = optimizer(schedule="constant", plateau_patience=1, warmup_steps=0)
    assert not any(steps.observe(1.0, last_window=True) for _ in range(10))


@pytest.mark.parametrize("algorithm", ["sgd", "adamw"])
def test_a_restored_optimizer_takes_the_same_steps(algorithm: str) -> None:
    def train(steps: Optimizer, weight: nn.Parameter, first: int, last: int) -> None:
        for step in range(first, last):
            steps.step(((weight - 3) ** 2).sum(), step, 20)
            steps.observe(1.0, last_window=True)

    config = OptimizerConfig(algorithm=algorithm, schedule="plateau", plateau_patience=3)  # type: ignore[arg-type]
    whole = nn.Parameter(torch.zeros(4))
    train(Optimizer([whole], config), whole, 0, 20)

    weight = nn.Parameter(torch.zeros(4))
    before = Optimizer([weight], config)
    train(before, weight, 0, 9)
    after = Optimizer([weight], config)
    after.load_state_dict(before.state_dict())
    train(after, weight, 9, 20)
    assert torch.equal(weight, whole)


@pytest.mark.parametrize("algorithm", ["sgd", "adamw"])
def test_parameters_have_shares_of_the_rate(algorithm: str) -> None:
    """Each moves as it would alone, at its share of the learning rate."""
    options = {"algorithm": algorithm, "warmup_steps": 0, "clip_norm": 0.0, "weight_decay": 0.0}
    config = OptimizerConfig(**options, learning_rate=0.01)  # type: ignore[arg-type]
    weights = [nn.Parameter(torch.ones(2)) for _ in range(3)]
    together = Optimizer(weights, config, [1.0, 0.25, 1.0])
    for step in range(5):
        together.step(sum((weight**2).sum() for weight in weights), step, 5)  # type: ignore[arg-type]
    for weight, share in zip(weights, (1.0, 0.25, 1.0), strict=True):
        alone = nn.Parameter(torch.ones(2))
        single = Optimizer([alone], replace(config, learning_rate=0.01 * share))
        for step in range(5):
            single.step((alone**2).sum(), step, 5)
        torch.testing.assert_close(weight, alone)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("momentum", -0.1),
        ("weight_decay", -1.0),
        ("warmup_steps", -1),
        ("final_share", 1.5),
        ("plateau_patience", 0),
        ("plateau_factor", 1.0),
        ("clip_norm", -1.0),
    ],
)
def test_impossible_settings_are_named(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        OptimizerConfig(**{field: value})  # type: ignore[arg-type]
