from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tcae.data.pairs import PairBatches
from tcae.data.shards import PackedDataset
from tcae.models.encoder import Encoder
from tcae.models.model_config import ModelConfig
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.objective_config import ObjectiveConfig
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.validation import Validation, ValidationConfig, effective_rank

CPU = torch.device("cpu")


@pytest.fixture
def batches(faces: Path) -> PairBatches:
    return PairBatches(PackedDataset(faces), "val", 4, seed=0)


@pytest.fixture
def objective() -> TwinCycleObjective:
    torch.manual_seed(0)
    config = ModelConfig(base_filters=4, embedding_size=8, zero_init=False)
    model = TwinCycle(Encoder(config, 32))
    model.encoder(torch.rand(8, 3, 32, 32))
    return TwinCycleObjective(model, ObjectiveConfig())


def test_measures_are_what_their_names_say(
    batches: PairBatches, objective: TwinCycleObjective
) -> None:
    measures = Validation(batches, 8, CPU).measure(objective)
    objective.eval()
    items = [batches[0], batches[1]]
    source = torch.cat([item["source"] for item in items]).float() / 255
    target = torch.cat([item["target"] for item in items]).float() / 255
    pictures = objective.pictures(source, target)
    error = float((pictures.reconstruction - target).abs().mean())
    assert measures["recon_l1"] == pytest.approx(error, rel=1e-5)
    assert measures["rec"] == pytest.approx(error, rel=1e-5)
    identity = float((source - target).abs().mean())
    assert measures["identity_l1"] == pytest.approx(identity, rel=1e-5)
    assert measures["recon_ratio"] == pytest.approx(error / identity, rel=1e-5)
    x, y = pictures.au_flow[:, 0], pictures.au_flow[:, 1]
    assert measures["au_flow"] == pytest.approx(float((x * x + y * y).sqrt().mean()), rel=1e-5)
    with torch.no_grad():
        pose = objective.model.encoder(source).pose.double()
    variance = float(((pose - pose.mean(0)) ** 2).mean())
    assert measures["pose_variance"] == pytest.approx(variance, rel=1e-4)
    assert measures["pose_spread"] == pytest.approx(variance / float((pose**2).mean()), rel=1e-4)


def test_the_loss_is_the_whole_one_of_every_pair(
    batches: PairBatches, objective: TwinCycleObjective
) -> None:
    measures = Validation(batches, 4, CPU).measure(objective)
    weights = objective.weights()
    # Contrast draws random numbers: of training alone.
    names = {name for name, weight in weights.items() if weight} - {"contrast", "transfer"}
    assert not {"contrast", "transfer"} & set(measures) and names <= set(measures)
    total = sum(weights[name] * measures[name] for name in names)
    assert measures["loss"] == pytest.approx(total, rel=1e-5)


def test_measuring_changes_nothing_and_repeats_itself(
    batches: PairBatches, objective: TwinCycleObjective
) -> None:
    validation = Validation(batches, 5, CPU)
    before = {k: v.clone() for k, v in objective.state_dict().items()}
    first = validation.measure(objective)
    assert objective.training
    assert all(torch.equal(v, before[k]) for k, v in objective.state_dict().items())
    assert validation.measure(objective) == first
    assert Validation(batches, 5, CPU).measure(objective) == first


def test_a_collapse_is_told_once_in_words(
    batches: PairBatches, objective: TwinCycleObjective, caplog: pytest.LogCaptureFixture
) -> None:
    validation = Validation(batches, 4, CPU)
    validation.warn_of_collapse(validation.measure(objective), 10)
    assert caplog.messages == []
    weights: Tensor = objective.model.encoder.au_branch[-2].weight  # type: ignore[assignment, union-attr]
    with torch.no_grad():
        weights.mul_(1e-6)  # only the bias is left: the same embedding for every face
        # In training the running moments would have followed: nothing is left to take out.
        objective.model.encoder.decorrelation.cross.zero_()  # type: ignore[union-attr]
    for step in (20, 30):
        validation.warn_of_collapse(validation.measure(objective), step)
    [line] = [message for message in caplog.messages if "the same" in message]
    assert line.startswith("step 20: the au embedding has collapsed")


def test_the_effective_rank_counts_directions() -> None:
    square = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]]).double()
    assert effective_rank(square + 7) == pytest.approx(2)
    assert effective_rank(square * torch.tensor([1.0, 0]) - 3) == pytest.approx(1)
    assert effective_rank(torch.ones(4, 3)) == 0
    # Singular values 3 : 1, shares 3/4 and 1/4.
    wanted = (4 / 3) ** 0.75 * 4**0.25
    assert effective_rank(square * torch.tensor([3.0, 1])) == pytest.approx(wanted)


def test_one_direction_only_is_told_in_words(
    batches: PairBatches, objective: TwinCycleObjective, caplog: pytest.LogCaptureFixture
) -> None:
    validation = Validation(batches, 8, CPU)
    measures = validation.measure(objective)
    assert measures["pose_effective_rank"] > 1.5
    for step in (10, 20):
        validation.warn_of_collapse(measures | {"pose_effective_rank": 1.2}, step)
    assert caplog.messages == [
        "step 10: the pose embedding has collapsed to one direction (effective rank 1.20)"
    ]


@pytest.mark.parametrize("field", ["every", "pairs", "panel_every", "panel_pairs"])
def test_settings_are_checked(field: str) -> None:
    with pytest.raises(ValueError, match=f"{field} is 0"):
        ValidationConfig(**{field: 0})
