"""One training step, on a small model."""

from __future__ import annotations

import torch
from torch import Tensor

from tcae.models.encoder import Encoder
from tcae.models.model_config import ModelConfig
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum, CurriculumConfig
from tcae.objectives.objective_config import ObjectiveConfig
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.optimizer import Optimizer, OptimizerConfig
from tcae.training.step import TrainingStep


def batch(pairs: int) -> dict[str, Tensor]:
    source, target = torch.randint(256, (2, pairs, 3, 32, 32), dtype=torch.uint8)
    tracks = torch.arange(pairs) // 2
    return {"source": source, "target": target, "tracks": tracks, "failures": torch.zeros(())}


def test_the_lengths_of_gradient_and_update_are_those_of_all_weights_together() -> None:
    torch.manual_seed(0)
    model = TwinCycle(Encoder(ModelConfig(base_filters=4, embedding_size=8), 32))
    objective = TwinCycleObjective(model, ObjectiveConfig())
    plain = OptimizerConfig(algorithm="sgd", momentum=0.0, weight_decay=0.0, warmup_steps=0)
    optimizer = Optimizer(objective.parameters(), plain)
    step = TrainingStep(objective, objective, Curriculum(CurriculumConfig()), optimizer)
    before = torch.cat([p.detach().flatten() for p in objective.parameters()])
    numbers = step(batch(4), 0, None).read()
    after = torch.cat([p.detach().flatten() for p in objective.parameters()])
    torch.testing.assert_close(numbers.norms["update_norm"], float((after - before).norm()))
    # Plain gradient descent goes along the gradient, clipped to length 1.
    assert numbers.norms["gradient_norm"] > 1
    torch.testing.assert_close(numbers.norms["update_norm"], plain.learning_rate, rtol=1e-3, atol=0)
    broken = batch(4) | {"source": torch.full((4, 3, 32, 32), torch.nan)}
    skipped = step(broken, 1, None).read()
    assert not skipped.moved
    assert skipped.norms["update_norm"] == 0
