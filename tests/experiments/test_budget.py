from __future__ import annotations

from tcae.experiments.budget import BUDGETS


def test_the_small_budget_trains_for_less_than_three_quarters_of_an_hour():
    small = BUDGETS["small"]
    networks = small.twin_cycle + 3 * small.baseline + 3 * 3 * small.fold + 7 * small.ablation
    assert networks < 45
