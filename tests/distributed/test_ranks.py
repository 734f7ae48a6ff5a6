"""What several processes compute of their parts, against one process that has the whole batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from tcae.distributed import ranks
from tcae.models.batch_norm import SyncBatchNorm2d, convert_sync_batch_norm
from tcae.models.encoder import Encoder
from tcae.models.model_config import ModelConfig
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.curriculum import Curriculum, CurriculumConfig
from tcae.objectives.objective_config import ObjectiveConfig
from tcae.objectives.twin_cycle import TwinCycleObjective

# Each process saves what it found about its part of the batch that the test made.
PREAMBLE = """
import sys
import torch
import torch.distributed as dist
from tcae.distributed import ranks
from tcae.models.batch_norm import convert_sync_batch_norm

torch.set_num_threads(1)
dist.init_process_group("gloo")
folder = sys.argv[1]
given = torch.load(f"{folder}/given.pt", weights_only=False)
part = lambda values: values.chunk(ranks.world_size())[ranks.rank()]
"""
ENDING = """
torch.save(found, f"{folder}/found-{ranks.rank()}.pt")
dist.barrier()
dist.destroy_process_group()  # else its threads may still run when the program ends
"""

Found = list[dict[str, torch.Tensor]]


@pytest.fixture
def in_team(tmp_path: Path, run_team: Callable[..., list[tuple[int, str, str]]]):
    def run(body: str, given: object, processes: int) -> Found:
        torch.save(given, tmp_path / "given.pt")
        results = run_team(["-c", PREAMBLE + body + ENDING, str(tmp_path)], processes)
        for status, _, errors in results:
            assert status == 0, errors
        return [torch.load(tmp_path / f"found-{rank}.pt") for rank in range(processes)]

    return run


def joined(found: Found, name: str) -> torch.Tensor:
    return torch.cat([part[name] for part in found])


def close(found: torch.Tensor, truth: torch.Tensor) -> None:
    torch.testing.assert_close(found, truth, rtol=1e-5, atol=1e-6)


def test_alone_nothing_is_sent() -> None:
    values = torch.rand(3)
    assert (ranks.world_size(), ranks.rank()) == (1, 0)
    assert ranks.gather(values) is values


@pytest.mark.parametrize("processes", [2, 3])
def test_gathered_values_and_their_gradient(in_team, processes: int) -> None:
    """The loss of each process depends on the values of all, each in another way."""
    values = torch.rand(6, 2, dtype=torch.float64)
    body = """
own = part(given).requires_grad_()
everything = ranks.gather(own)
loss = (everything ** (2 + ranks.rank())).sum()
loss.backward()
found = {"everything": everything.detach(), "gradient": own.grad}
"""
    found = in_team(body, values, processes)
    values.requires_grad_()
    sum((values ** (2 + rank)).sum() for rank in range(processes)).backward()
    for part in found:
        assert torch.equal(part["everything"], values.detach())
    close(joined(found, "gradient"), values.grad)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_batch_norm_over_the_whole_batch(in_team, momentum: float | None) -> None:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(3, momentum=momentum)
    nn.init.uniform_(norm.weight)
    nn.init.uniform_(norm.bias)
    images, direction = torch.rand(2, 6, 3, 4, 5)
    images = images * torch.arange(1.0, 7)[:, None, None, None] + 5  # parts differ
    body = """
norm, images, direction = given
norm = convert_sync_batch_norm(torch.nn.Sequential(norm))
images = part(images).requires_grad_()
for _ in range(2):
    out = norm(images)
(out * part(direction)).sum().backward()
found = {"out": out.detach(), "images": images.grad, "eval": norm.eval()(images).detach()}
found |= {name: value.grad[None] for name, value in norm[0].named_parameters()}
found |= {name: value[None] for name, value in norm[0].named_buffers()}
"""
    found = in_team(body, (norm, images, direction), 2)
    images.requires_grad_()
    for _ in range(2):
        out = norm(images)
    (out * direction).sum().backward()
    close(joined(found, "out"), out.detach())
    close(joined(found, "images"), images.grad)
    close(joined(found, "eval"), norm.eval()(images).detach())
    for name, parameter in norm.named_parameters():  # each process has its part of the sum
        close(joined(found, name).sum(0), parameter.grad)
    for part in found:
        for name, buffer in norm.named_buffers():
            close(part[name][0], buffer)


def test_low_precision_images_are_normalised_in_single_precision(in_team) -> None:
    images = (torch.rand(4, 2, 3, 3) + 100).bfloat16()
    body = """
norm = convert_sync_batch_norm(torch.nn.Sequential(torch.nn.BatchNorm2d(2)))
out = norm(part(given))
found = {"out": out.detach()}
"""
    found = joined(in_team(body, images, 2), "out")
    assert found.dtype == torch.bfloat16
    close(found.float(), nn.BatchNorm2d(2)(images.float()).bfloat16().float())


def test_synchronised_models_keep_their_weights_and_are_the_same_alone() -> None:
    torch.manual_seed(0)
    model = TwinCycle(Encoder(ModelConfig(base_filters=4, embedding_size=8), 32))
    images = torch.rand(2, 3, 32, 32)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    before = model.encoder(images)
    norms = sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    model.load_state_dict(state)
    convert_sync_batch_norm(model)
    assert model.state_dict().keys() == state.keys()
    assert torch.equal(model.encoder(images).au, before.au)
    assert sum(type(module) is SyncBatchNorm2d for module in model.modules()) == norms > 0


@pytest.mark.parametrize("order", ["sample", "term"])
@pytest.mark.parametrize("window", [(0.0, 1.0), (0.0, 0.5), (0.25, 0.75)])
def test_the_curriculum_sorts_all_samples_together(in_team, order: str, window) -> None:
    """All easy samples lie in one process: sorted apart, other samples would learn."""
    torch.manual_seed(0)
    terms = {"a": torch.rand(8).sort()[0], "b": torch.rand(8) * 0.1}
    curriculum = Curriculum(CurriculumConfig(windows=(window,), order=order))
    weights = {"a": 1.0, "b": 2.0}
    body = """
curriculum, weights, terms = given
terms = {name: part(term).requires_grad_() for name, term in terms.items()}
loss = curriculum.loss(terms, weights)
loss.backward()
found = {"loss": loss.detach()[None], **{name: term.grad for name, term in terms.items()}}
"""
    found = in_team(body, (curriculum, weights, terms), 2)
    terms = {name: term.requires_grad_() for name, term in terms.items()}
    loss = curriculum.loss(terms, weights)
    loss.backward()
    close(joined(found, "loss").mean(), loss.detach())
    for name, term in terms.items():  # of the mean over two processes: half of each one's gradient
        close(joined(found, name) / 2, term.grad)


@pytest.mark.parametrize("training", [True, False])
def test_every_term_of_the_objective_is_that_of_the_whole_batch(in_team, training: bool) -> None:
    torch.manual_seed(0)
    model = TwinCycle(Encoder(ModelConfig(base_filters=4, embedding_size=8, zero_init=False), 32))
    config = ObjectiveConfig(
        twin_every=2,
        shrink_validation=True,
        reconstruction_embedding=1.0,
        transfer=0.0,  # actions go to other persons of the same process
    )
    # In fp32 what is divided by an untrained model's variances differs in the fifth digit.
    objective = TwinCycleObjective(model, config).train(training).double()
    source, target = torch.rand(2, 6, 3, 32, 32, dtype=torch.float64)
    body = """
objective, source, target = given
convert_sync_batch_norm(objective)
torch.manual_seed(1)
found = {name: term.detach() for name, term in objective(part(source), part(target)).items()}
"""
    found = in_team(body, (objective, source, target), 3)
    torch.manual_seed(1)
    terms = objective(source, target)
    assert len(terms) == 10 + training  # contrast, which draws random numbers
    for name, term in terms.items():
        torch.testing.assert_close(joined(found, name), term.detach(), rtol=1e-9, atol=1e-12)
