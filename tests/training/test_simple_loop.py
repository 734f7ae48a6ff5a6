from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tcae.objectives.curriculum import CurriculumConfig
from tcae.training.early_stopping import EarlyStopping
from tcae.training.optimizer import OptimizerConfig
from tcae.training.simple_loop import Interrupted, Recipe, fit

OPTIMIZER = OptimizerConfig(learning_rate=0.05, warmup_steps=0, clip_norm=0.0)
WANTED = torch.tensor([[1.0, -2.0, 0.5]])


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(0.1), nn.Linear(3, 1))


def batch_of(step: int) -> tuple[Tensor, Tensor]:
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(step))
    return x, x @ WANTED.T


def train(net: nn.Module, path: Path, recipe: Recipe, batches=batch_of, **options) -> int:
    def losses(x: Tensor, y: Tensor) -> Tensor:
        return (net(x) - y).square().mean(1)

    return fit(net, losses, batches, recipe, path, name="line", **options)


def test_learns_and_is_in_evaluation_mode(tmp_path):
    net = network()
    assert train(net, tmp_path / "a", Recipe(200, 16, OPTIMIZER)) == 200
    assert not net.training
    x, y = batch_of(-1)
    with torch.no_grad():
        error = float((net(x) - y).square().mean())
    assert error < 0.1 * float(y.square().mean())


def test_a_training_that_was_stopped_goes_on_to_the_bit(tmp_path):
    recipe = Recipe(
        30, 16, OPTIMIZER, CurriculumConfig(windows=((0.0, 0.5), (0.2, 0.8)), patience=1)
    )
    validation = [batch_of(1000)]
    whole = network()
    train(whole, tmp_path / "a", recipe, validation=validation)

    def stopping(step: int) -> tuple[Tensor, Tensor]:
        if step == 13:
            signal.raise_signal(signal.SIGTERM)
        return batch_of(step)

    with pytest.raises(Interrupted) as stop:
        train(network(), tmp_path / "b", recipe, stopping, validation=validation)
    assert stop.value.signal == signal.SIGTERM
    torch.manual_seed(77)
    parts = network()
    asked = []

    def noted(step: int) -> tuple[Tensor, Tensor]:
        asked.append(step)
        return batch_of(step)

    train(parts, tmp_path / "b", recipe, noted, validation=validation)
    assert asked == list(range(14, 30))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, parts.state_dict()[name]), name


def test_a_finished_training_is_read_and_not_done_again(tmp_path):
    first, second = network(), network()
    train(first, tmp_path / "a", Recipe(5, 16, OPTIMIZER))
    steps = train(second, tmp_path / "a", Recipe(5, 16, OPTIMIZER), lambda step: 1 / 0)
    assert steps == 5 and not second.training
    assert torch.equal(first[2].weight, second[2].weight)


def test_minutes_shorten_a_training_once_for_all(tmp_path, monkeypatch):
    clock = iter(range(10**6))  # every look at the clock is a second later
    monkeypatch.setattr("tcae.training.simple_loop.time.monotonic", lambda: float(next(clock)))
    recipe = Recipe(10_000, 16, OPTIMIZER, minutes=0.5)
    assert train(network(), tmp_path / "a", recipe) == 30
    assert train(network(), tmp_path / "a", recipe, lambda step: 1 / 0) == 30


def test_only_the_window_of_the_curriculum_learns(tmp_path):
    """The hardest half of each batch has labels that are not a line; they must not count."""

    def half_wrong(step: int) -> tuple[Tensor, Tensor]:
        x, y = batch_of(step)
        return x, torch.where(torch.arange(16)[:, None] % 2 == 0, y, y + 100)

    easy = CurriculumConfig(windows=((0.0, 0.5),))
    net = network()
    train(net, tmp_path / "a", Recipe(200, 16, OPTIMIZER, easy), half_wrong)
    x, y = batch_of(-1)
    assert float((net(x) - y).square().mean()) < 0.5


def test_a_loss_that_is_not_finite_stops(tmp_path):
    def broken(step: int) -> tuple[Tensor, Tensor]:
        x, y = batch_of(step)
        return x, y / (step < 3)

    with pytest.raises(FloatingPointError, match="line: loss of step 4 is not finite"):
        train(network(), tmp_path / "a", Recipe(9, 16, OPTIMIZER), broken)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "a"
    train(network(), path, Recipe(2, 16, OPTIMIZER))
    with pytest.raises(ValueError, match=f"{path}: not a training of line"):
        train(nn.Linear(3, 2), path, Recipe(2, 16, OPTIMIZER))
    path.write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=f"{path}: not a training of line"):
        train(network(), path, Recipe(2, 16, OPTIMIZER))


def test_early_stopping_keeps_the_best_network_and_survives_a_stop(tmp_path):
    """Scores rise for half of the training, then fall."""
    recipe = Recipe(40, 16, OPTIMIZER)
    kept: list[Tensor] = []

    def stopping(scores: list[float]) -> EarlyStopping:
        return EarlyStopping(lambda: scores.pop(0), "score", 4)

    def scores(first: int) -> list[float]:
        return [-abs(10.0 - k) for k in range(first, 99)]

    def watching(step: int) -> tuple[Tensor, Tensor]:
        if step == 20:  # after the tenth of the twenty scores
            kept.append(whole[2].weight.detach().clone())
        return batch_of(step)

    whole = network()
    assert train(whole, tmp_path / "a", recipe, watching, stopping=stopping(scores(0))) == 20
    assert torch.equal(whole[2].weight, kept[0])

    def stopped(step: int) -> tuple[Tensor, Tensor]:
        if step == 24:  # its batch is still learned, and two scores of no use have come by then
            signal.raise_signal(signal.SIGTERM)
        return batch_of(step)

    parts = network()
    with pytest.raises(Interrupted):
        train(parts, tmp_path / "b", recipe, stopped, stopping=stopping(scores(0)))
    asked: list[int] = []

    def noted(step: int) -> tuple[Tensor, Tensor]:
        asked.append(step)
        return batch_of(step)

    assert train(parts, tmp_path / "b", recipe, noted, stopping=stopping(scores(13))) == 20
    assert torch.equal(parts[2].weight, whole[2].weight)
    assert asked == list(range(25, 28))
