from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from tcae.models.encoder import Encoder
from tcae.models.model_config import ModelConfig
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum, CurriculumConfig
from tcae.objectives.objective_config import ObjectiveConfig
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.device import Compiled
from tcae.training.trial_steps import TrialSteps


def trial(objective: nn.Module, *pair: Tensor, compiled: Compiled = "none") -> TrialSteps:
    curriculum = Curriculum(CurriculumConfig())
    return TrialSteps(
        cast(TwinCycleObjective, objective),
        objective,
        curriculum,
        (pair[0], pair[1]),
        "fp32",
        compiled,
    )


def test_trial_steps_leave_weights_statistics_and_random_numbers_alone() -> None:
    model = TwinCycle(Encoder(ModelConfig(base_filters=4, embedding_size=8), 32))
    objective = TwinCycleObjective(model, ObjectiveConfig())
    steps = trial(objective, *torch.rand(2, 2, 3, 32, 32))
    before = {name: value.clone() for name, value in objective.state_dict().items()}
    state = torch.get_rng_state()
    assert steps.seconds() > 0
    assert steps.flops(0) < steps.flops(400)  # with cycles, which begin later
    assert all(torch.equal(value, before[name]) for name, value in objective.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


class Layers(nn.Module):
    """A layer of 12 to 5 numbers for each of two losses, of which one begins at step 9."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.late = nn.Linear(12, 5), nn.Linear(12, 5)
        self.calls = 0

    def weights(self, step: int | None = None) -> dict[str, float]:
        return {"first": 1.0, "late": float(step is None or step >= 9)}

    def forward(self, source: Tensor, target: Tensor, step: int | None) -> dict[str, Tensor]:
        self.calls += 1
        layers = {name: getattr(self, name) for name, on in self.weights(step).items() if on}
        return {name: layer(source.flatten(1)).mean(1) for name, layer in layers.items()}


def test_multiplications_and_additions_of_forward_and_backward_pass_are_counted_once() -> None:
    objective = Layers()
    steps = trial(objective, *torch.rand(2, 7, 3, 2, 2))
    # 7 rows times 12 x 5 weights, a product and a sum each; backwards for the weights only.
    assert steps.flops(3) == 2 * 7 * 12 * 5 * 2
    assert steps.flops(8) == steps.flops(3)
    assert objective.calls == 1
    assert steps.flops(9) == 2 * steps.flops(3)
