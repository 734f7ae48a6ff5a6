"""The yardstick has the released code's mathematics: its terms, and the gradient of its loss."""

from pathlib import Path

import pytest
import torch

from tcae.models.encoder import Encoder
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.config import PRESETS


@pytest.fixture
def yardstick(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    from benchmarks import yardstick

    return yardstick


def test_it_is_the_preset_official(yardstick):
    config = PRESETS["official"]
    torch.manual_seed(0)
    # In fp32 the gradients of differences around zero may have either sign.
    model = TwinCycle(Encoder(config.model, 32)).double()
    objective = TwinCycleObjective(model, config.objective)
    source, target = torch.rand(2, 8, 3, 32, 32, dtype=torch.float64)
    ours = objective(source, target)
    theirs = yardstick.Yardstick(model).terms(source, target)
    assert ours.keys() == theirs.keys() == yardstick.WEIGHTS.keys()
    for name, term in theirs.items():
        torch.testing.assert_close(ours[name], term, rtol=1e-4, atol=1e-6)
    weights = {name: weight for name, weight in objective.weights().items() if weight}
    assert weights == pytest.approx(yardstick.WEIGHTS)
    assert config.curriculum.windows[0] == yardstick.WINDOW
    parameters = list(model.parameters())
    loss = Curriculum(config.curriculum).loss(ours, objective.weights())
    wanted = torch.autograd.grad(loss, parameters)
    found = torch.autograd.grad(yardstick.windowed_loss(theirs), parameters)
    one, other = (torch.cat([part.flatten() for part in parts]) for parts in (found, wanted))
    assert (one - other).norm() < 1e-4 * other.norm()  # the grid is fp32


def test_a_step_moves_the_weights(yardstick):
    model = TwinCycle(Encoder(PRESETS["official"].model, 32))
    before = [p.detach().clone() for p in model.parameters()]
    images = torch.randint(256, (2, 4, 3, 32, 32), dtype=torch.uint8)
    yardstick.Yardstick(model).step(*images)
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


def test_it_keeps_what_torch_keeps(yardstick):
    """Our decoders recompute their up-sampled maps. The yardstick keeps them."""
    kept = set()

    def note(tensor):
        kept.add(tensor.shape)
        return tensor

    rival = yardstick.Yardstick(TwinCycle(Encoder(PRESETS["official"].model, 32)))
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        rival.terms(*torch.rand(2, 3, 3, 32, 32))
    assert (3, 32, 32, 32) in kept  # what the last convolution of a decoder sees
