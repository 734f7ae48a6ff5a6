"""Compiled and recomputed passes against the plain ones: losses, gradients, statistics, memory."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from tcae.models.encoder import Encoder
from tcae.models.passes import compile_passes, divide_passes, recompute_passes
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.config import PRESETS

SIDE = 32


def objective_of(preset: str) -> TwinCycleObjective:
    config = PRESETS[preset]
    torch.manual_seed(0)
    model = TwinCycle(Encoder(replace(config.model, base_filters=4, zero_init=False), SIDE))
    return TwinCycleObjective(model, config.objective)


def learned(objective: TwinCycleObjective) -> tuple[dict[str, Tensor], list[Tensor], int]:
    """Terms of a step, the gradients of their sum, and bytes kept between forward and backward."""
    torch.manual_seed(1)  # of contrast's draws
    like = next(objective.parameters())
    source, target = torch.rand(2, 4, 3, SIDE, SIDE, dtype=like.dtype)
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        terms = objective(source, target)
    bytes_kept = sum(kept.values())
    loss = objective.total(terms).sum()
    return terms, list(torch.autograd.grad(loss, list(objective.parameters()))), bytes_kept


@pytest.mark.parametrize("preset", ["official", "default"])
def test_a_recomputed_pass_is_the_same_and_keeps_less(preset: str) -> None:
    plain = objective_of(preset)
    other = deepcopy(plain)
    recompute_passes(other.model)
    for _ in range(2):  # statistics of the first step count in the second one
        terms, gradients, kept = learned(plain)
        found, others, less = learned(other)
        assert terms.keys() == found.keys()
        assert all(term.equal(found[name]) for name, term in terms.items())
        assert all(a.equal(b) for a, b in zip(gradients, others, strict=True))
        assert less < 0.5 * kept
    states = plain.state_dict()
    assert all(value.equal(states[name]) for name, value in other.state_dict().items())


@pytest.mark.parametrize("preset", ["official", "default"])
def test_the_parts_of_a_batch_make_the_losses_and_gradients_of_the_whole(preset: str) -> None:
    """With fixed statistics of batch norm; contrast compares pairs that are in different parts."""
    plain = objective_of(preset).double()
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    other = deepcopy(plain)
    divide_passes(other.model, 2)
    terms, gradients, kept = learned(plain)
    found, others, less = learned(other)
    assert terms.keys() == found.keys()
    for name, term in terms.items():
        torch.testing.assert_close(found[name], term, rtol=1e-9, atol=1e-12)
    one, two = (torch.cat([g.flatten() for g in part]) for part in (gradients, others))
    assert (one - two).norm() < 1e-9 * one.norm()
    assert less < 0.5 * kept


@pytest.mark.parametrize("preset", ["official", "default"])
def test_each_part_of_a_batch_is_normalised_as_if_it_were_alone(preset: str) -> None:
    """As in processes without --sync-batch-norm. Official encodes sources apart from targets."""
    plain = objective_of(preset).double()
    other = deepcopy(plain)
    divide_passes(other.model, 3)
    source, target = torch.rand(2, 6, 3, SIDE, SIDE, dtype=torch.float64)
    batches = (source, target) if preset == "official" else (torch.cat([source, target]),)
    whole = other.model.encoder.correlated(*batches)
    flow = other.model.au_motion(*whole.au.chunk(2)).flow
    for first in range(3):
        part = plain.model.encoder.correlated(*(batch[first::3] for batch in batches))
        for found, expected in zip(whole, part, strict=True):
            torch.testing.assert_close(found[first::3], expected, rtol=1e-9, atol=1e-12)
        alone = plain.model.au_motion(*part.au.chunk(2)).flow
        torch.testing.assert_close(flow[first::3], alone, rtol=1e-9, atol=1e-12)
    # Running statistics follow part after part.
    for name, buffer in other.model.encoder.named_buffers():
        torch.testing.assert_close(buffer, plain.model.encoder.get_buffer(name))


def test_parts_that_do_not_divide_a_batch_are_fewer() -> None:
    plain = objective_of("default")
    other = deepcopy(plain)
    divide_passes(other.model, 4)
    images = torch.rand(3, 3, SIDE, SIDE)  # no part of them but themselves
    assert other.model.encoder(images).au.equal(plain.model.encoder(images).au)


class Convolutions(TorchDispatchMode):
    """Counts them."""

    count = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.count += operator is torch.ops.aten.convolution.default
        return operator(*args, **(kwargs or {}))


def test_up_sampled_maps_are_made_again_and_convolved_once() -> None:
    decoder = objective_of("official").model.au_decoder
    kept: list[torch.Size] = []
    enlarged: list[tuple[int, ...]] = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor.shape)
        return tensor

    for block in (*decoder.blocks, decoder.motion):
        block.register_forward_hook(
            lambda _block, inputs, _out: enlarged.append(
                (*inputs[0].shape[:2], *(2 * side for side in inputs[0].shape[2:]))
            )
        )
    embeddings = torch.rand(2, 3, 256, requires_grad=True)
    noting = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with noting, Convolutions() as forward:
        motion = decoder(*embeddings)
    assert enlarged[-1] == (3, 4, SIDE, SIDE)
    assert len(enlarged) == 5
    assert forward.count == 7  # three, one for each tap down, of a small map of many channels
    assert not set(enlarged) & set(kept)
    with Convolutions() as backward:
        motion.sum().backward()
    assert backward.count == 0
    assert all(parameter.grad is not None for parameter in decoder.parameters())


def test_compiled_and_recomputed_passes_agree() -> None:
    """In double precision: in single, differences around zero may have either sign."""
    plain = objective_of("official").double()
    other = deepcopy(plain)
    compile_passes(other.model)
    recompute_passes(other.model)
    for _ in range(2):  # statistics of the first step count in the second one
        terms, gradients, _ = learned(plain)
        found, others, _ = learned(other)
        for name, term in terms.items():
            torch.testing.assert_close(found[name], term, rtol=1e-9, atol=1e-12)
    one, two = (torch.cat([g.flatten() for g in part]) for part in (gradients, others))
    assert (one - two).norm() < 1e-6 * one.norm()
    torch.testing.assert_close(dict(other.named_buffers()), dict(plain.named_buffers()))
    assert other.state_dict().keys() == plain.state_dict().keys()
    # Passes that are not differentiated are the plain ones.
    images = torch.rand(2, 3, SIDE, SIDE, dtype=torch.float64)
    with torch.no_grad():
        other.load_state_dict(plain.state_dict())
        assert other.eval().model.encoder(images).au.equal(plain.eval().model.encoder(images).au)
