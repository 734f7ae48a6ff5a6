from __future__ import annotations

import math

import torch
from torch import nn

from tcae.training.early_stopping import EarlyStopping


def observed(scores: list[float], patience: int) -> tuple[EarlyStopping, nn.Linear, int]:
    """Weights equal to the step, scored until patience runs out."""
    network, left = nn.Linear(1, 1), iter(scores)
    stopping = EarlyStopping(lambda: next(left), "score", patience)
    for step in range(len(scores)):
        nn.init.constant_(network.weight, step)
        stopping.observe(network, step)
        if stopping.stale:
            return stopping, network, step
    return stopping, network, len(scores) - 1


def test_the_best_weights_come_back() -> None:
    stopping, network, last = observed([0.5, 0.7, 0.6, 0.7, 0.6, 0.9], 3)
    assert last == 4 and stopping.best == 0.7
    assert stopping.restore(network, last) == 1
    assert float(network.weight) == 1


def test_a_better_score_starts_patience_anew() -> None:
    stopping, network, last = observed([0.5, 0.4, 0.6, 0.5, 0.5, 0.7], 3)
    assert last == 5 and not stopping.stale
    assert stopping.restore(network, last) == 5


def test_scores_that_say_nothing_leave_the_last_weights() -> None:
    stopping, network, last = observed([math.nan] * 5, 9)
    assert stopping.restore(network, last) == 4 and float(network.weight) == 4


def test_a_restored_state_goes_on_the_same() -> None:
    first, network, _ = observed([0.5, 0.7, 0.6], 3)
    second = EarlyStopping(lambda: 0.65, "score", 3)
    second.load_state_dict(first.state_dict())
    second.observe(network, 3)
    assert not second.stale
    second.observe(network, 4)
    assert second.stale and second.restore(network, 4) == 1
    assert torch.equal(network.weight, torch.ones(1, 1))
