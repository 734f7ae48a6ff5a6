from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tcae.models.encoder import Encoder
from tcae.models.model_config import ModelConfig
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.objective_config import ObjectiveConfig
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.time_budget import first_full_step, steps_that_fit


def objective(**values: int) -> TwinCycleObjective:
    model = TwinCycle(Encoder(ModelConfig(base_filters=4, embedding_size=8), 32))
    return TwinCycleObjective(model, ObjectiveConfig(**values))  # type: ignore[arg-type]


@given(st.floats(0, 1e4), st.floats(1e-2, 10), st.floats(1e-2, 10), st.integers(-5, 1000))
def test_as_many_steps_as_fit(seconds: float, light: float, full: float, light_steps: int) -> None:
    def duration(steps: int) -> float:
        first = min(steps, max(light_steps, 0))
        return first * light + (steps - first) * full

    steps = steps_that_fit(seconds, light, full, light_steps)
    assert duration(steps) <= seconds * (1 + 1e-9)
    assert duration(steps + 1) > seconds * (1 - 1e-9)


@pytest.mark.parametrize(("start", "ramp", "first"), [(0, 0, 0), (3, 0, 3), (3, 4, 4), (0, 4, 1)])
def test_the_first_full_step_is_where_the_ramp_begins(start: int, ramp: int, first: int) -> None:
    ramped = objective(ramp_start=start, ramp_steps=ramp)
    assert first_full_step(ramped) == first
    pair = torch.rand(2, 2, 3, 32, 32)
    assert ramped(*pair, first).keys() == ramped(*pair).keys()
    assert first == 0 or ramped(*pair, first - 1).keys() < ramped(*pair).keys()
