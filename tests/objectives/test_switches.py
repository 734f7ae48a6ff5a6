"""Every switch and weight of the objective changes what it should, and nothing else."""

from __future__ import annotations

import copy
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from tcae.models.decorrelation import Decorrelation
from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.objective_config import LOSS_WEIGHTS, OBJECTIVE_PRESETS, ObjectiveConfig
from tcae.objectives.twin_cycle import TwinCycleObjective

SIZE, PAIRS, D, P = 32, 5, 4, 3
PAPER = OBJECTIVE_PRESETS["paper"]
CYCLES = {"cycle_au", "cycle_pose"}
DISTANCES = {"emb_au_phi", "emb_au_psi", "emb_pose_phi", "emb_pose_psi"}
EXTRA = {"emb_rec_phi", "emb_rec_psi"}
TERMS = {"rec", "sparsity"} | CYCLES | DISTANCES

Measured = dict[str, tuple[Tensor, list[Tensor]]]


@pytest.fixture(scope="module")
def model() -> TwinCycle:
    """A tiny model whose flows leave the image here and there."""
    torch.manual_seed(5)
    config = replace(MODEL_PRESETS["paper"], base_filters=2, embedding_size=D, pose_size=P)
    model = TwinCycle(Encoder(config, SIZE)).double()
    with torch.no_grad():
        model.au_decoder.motion[1].weight.mul_(2)
        model.pose_decoder.motion[1].weight.mul_(2)
    return model


@pytest.fixture(scope="module")
def pair() -> Tensor:
    generator = torch.Generator().manual_seed(6)
    return torch.rand(2, PAIRS, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)


def measure(
    model: TwinCycle, config: ObjectiveConfig, pair: Tensor, training: bool = True
) -> Measured:
    """Value of every term and its gradient for every parameter."""
    model = copy.deepcopy(model)
    terms = TwinCycleObjective(model, config).train(training)(*pair)
    return {name: (term.detach(), gradients(term.sum(), model)) for name, term in terms.items()}


def gradients(scalar: Tensor, model: TwinCycle) -> list[Tensor]:
    return torch.autograd.grad(
        scalar,
        list(model.parameters()),
        retain_graph=True,
        allow_unused=True,
        materialize_grads=True,
    )


def changed(before: Measured, after: Measured) -> tuple[set[str], set[str]]:
    """Names of the terms whose values, and whose gradients, are not the same."""
    assert set(before) == set(after)
    values, slopes = set(), set()
    for name, (value, gradient) in before.items():
        other_value, other_gradient = after[name]
        if not torch.allclose(value, other_value, rtol=1e-9, atol=1e-12):
            values.add(name)
        pairs = zip(gradient, other_gradient, strict=True)
        if not all(torch.allclose(a, b, rtol=1e-7, atol=1e-10) for a, b in pairs):
            slopes.add(name)
    return values, slopes


@pytest.mark.parametrize(
    ("switch", "on", "values", "slopes"),
    [
        ("clamp_sparsity", True, {"sparsity"}, {"sparsity"}),
        ("detach_changed", True, set(), CYCLES),
        ("detach_embedding_targets", True, set(), DISTANCES),
        ("scale_embeddings", True, DISTANCES, DISTANCES),
        ("joint_batch_norm", True, TERMS, TERMS),
        ("twin_every", 2, CYCLES | DISTANCES, CYCLES | DISTANCES),
        ("shrink_validation", True, set(), set()),
        ("reconstruction", 3.0, set(), set()),
        ("sparsity", 0.5, set(), set()),
        ("cycle", 0.5, set(), set()),
        ("embedding", 0.5, set(), set()),
        ("contrast_ramp", 9, set(), set()),
        ("ramp_start", 9, set(), set()),
        ("ramp_steps", 9, set(), set()),
    ],
)
def test_a_switch_changes_its_terms_and_no_other(
    switch: str,
    on: object,
    values: set[str],
    slopes: set[str],
    model: TwinCycle,
    pair: Tensor,
) -> None:
    before = measure(model, PAPER, pair)
    after = measure(model, replace(PAPER, **{switch: on}), pair)
    assert changed(before, after) == (values, slopes)


def test_every_field_has_a_test_here() -> None:
    (cases,) = [
        mark.args[1]
        for mark in test_a_switch_changes_its_terms_and_no_other.pytestmark  # type: ignore[attr-defined]
        if mark.name == "parametrize"
    ]
    tested = {case[0] for case in cases}
    tested |= {"reconstruction_embedding", "contrast", "transfer", "contrast_decorrelated"}
    assert tested == {field.name for field in fields(ObjectiveConfig)}


def test_clamped_sparsity_counts_what_stays_in_the_image(model: TwinCycle, pair: Tensor) -> None:
    (value, _) = measure(model, replace(PAPER, clamp_sparsity=True), pair, training=False)[
        "sparsity"
    ]
    evaluated = copy.deepcopy(model).eval()
    flow = evaluated.au_motion(*(evaluated.encoder(images).au for images in pair)).flow.detach()
    line = [-1 + 2 * i / (SIZE - 1) for i in range(SIZE)]
    total = torch.zeros(PAIRS, dtype=torch.float64)
    for row in range(SIZE):
        for column in range(SIZE):
            x, y = line[column], line[row]
            total += ((flow[:, 0, row, column] + x).clamp(-1, 1) - x).abs()
            total += ((flow[:, 1, row, column] + y).clamp(-1, 1) - y).abs()
    torch.testing.assert_close(value, total / (SIZE * SIZE * 2))


def test_scaled_distance_is_in_units_of_the_targets_variance(
    model: TwinCycle, pair: Tensor
) -> None:
    plain = measure(model, PAPER, pair, training=False)
    scaled = measure(model, replace(PAPER, scale_embeddings=True), pair, training=False)
    evaluated = copy.deepcopy(model).eval()
    source, target = (evaluated.encoder(images) for images in pair)
    wanted = {
        "emb_au_phi": target.au,
        "emb_au_psi": source.pose,
        "emb_pose_phi": source.au,
        "emb_pose_psi": target.pose,
    }
    for name, embedding in wanted.items():
        variance = embedding.detach().var(0, correction=0).mean()
        torch.testing.assert_close(scaled[name][0] * variance, plain[name][0])
        # The variance is a unit of length, not something to be maximised.
        for found, expected in zip(scaled[name][1], plain[name][1], strict=True):
            torch.testing.assert_close(found * variance, expected)


@pytest.mark.parametrize("every", [2, 3, 9])
def test_some_pairs_stand_for_all_in_the_twin_terms(
    every: int, model: TwinCycle, pair: Tensor
) -> None:
    whole = replace(PAPER, scale_embeddings=True)
    plain = measure(model, whole, pair, training=False)
    part = measure(model, replace(whole, twin_every=every), pair, training=False)
    chosen = torch.tensor([i % every == 0 for i in range(PAIRS)])
    for name in CYCLES | DISTANCES:
        expected = torch.where(chosen, plain[name][0] * PAIRS / chosen.sum(), 0)
        torch.testing.assert_close(part[name][0], expected)


def test_one_pair_has_no_variance(model: TwinCycle, pair: Tensor) -> None:
    objective = TwinCycleObjective(model, replace(PAPER, scale_embeddings=True)).eval()
    with pytest.raises(ValueError, match=r"scale_embeddings .* 1 pair"):
        objective(*pair[:, :1])


def test_joint_batch_norm_matters_in_training_only(model: TwinCycle, pair: Tensor) -> None:
    joint = replace(PAPER, joint_batch_norm=True)
    before, after = (measure(model, config, pair, training=False) for config in (PAPER, joint))
    assert changed(before, after) == (set(), set())


def test_shrunk_validation(model: TwinCycle, pair: Tensor) -> None:
    before = measure(model, PAPER, pair, training=False)
    after = measure(model, replace(PAPER, shrink_validation=True), pair, training=False)
    assert changed(before, after) == (DISTANCES, DISTANCES)
    for name in DISTANCES:
        size = P if name.endswith("psi") else D
        torch.testing.assert_close(after[name][0] * PAIRS * size, before[name][0])


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_reconstruction_embedding_adds_two_terms(
    preset: str, model: TwinCycle, pair: Tensor
) -> None:
    config = OBJECTIVE_PRESETS[preset]
    without = measure(model, replace(config, reconstruction_embedding=0.0), pair)
    added = measure(model, replace(config, reconstruction_embedding=1.0), pair)
    assert set(added) - set(without) == EXTRA
    assert changed(without, {name: added[name] for name in without}) == (set(), set())


def test_reconstruction_embedding_needs_no_other_distance(model: TwinCycle, pair: Tensor) -> None:
    config = replace(PAPER, reconstruction_embedding=1.0)
    alone = measure(model, replace(config, cycle=0.0, embedding=0.0), pair, training=False)
    assert set(alone) == {"rec", "sparsity"} | EXTRA
    with_all = measure(model, config, pair, training=False)
    assert changed({name: with_all[name] for name in alone}, alone) == (set(), set())


@pytest.mark.parametrize("name", ["contrast", "transfer"])
def test_telling_apart_adds_one_term_and_draws_nothing_outside_training(
    name: str, model: TwinCycle, pair: Tensor
) -> None:
    config = replace(PAPER, **{name: 0.3})
    before, added = measure(model, PAPER, pair), measure(model, config, pair)
    assert set(added) - set(before) == {name}
    assert changed(before, {term: added[term] for term in before}) == (set(), set())
    reached = [bool(gradient.any()) for gradient in added[name][1]]
    names = [parameter for parameter, _ in model.named_parameters()]
    learning = {name for name, there in zip(names, reached, strict=True) if there}
    # The moved faces are given: it is the AU embedding that has to tell them apart.
    assert {name.split(".")[1] for name in learning} == {"backbone", "au_branch"}
    state = torch.get_rng_state()
    assert set(measure(model, config, pair, training=False)) == TERMS
    assert torch.get_rng_state().equal(state)


def test_contrast_sees_embeddings_that_are_not_decorrelated(model: TwinCycle, pair: Tensor) -> None:
    """It is what it would be if nothing were decorrelated."""
    cleaned = copy.deepcopy(model)
    cleaned.encoder.decorrelation = Decorrelation(D, P).double()
    found = []
    for seen, switch in ((model, False), (cleaned, False), (cleaned, True)):
        torch.manual_seed(9)
        config = replace(PAPER, contrast=0.3, contrast_decorrelated=switch)
        found.append({"contrast": measure(seen, config, pair)["contrast"]})
    assert changed(found[0], found[1]) == (set(), set())
    assert changed(found[0], found[2]) == ({"contrast"}, {"contrast"})


def test_moments_follow_the_faces_that_decoders_use(model: TwinCycle, pair: Tensor) -> None:
    """Augmented faces would teach another relation than the one that is to be taken out."""
    for switch, passes in ((False, 2), (True, 4)):
        cleaned = copy.deepcopy(model)
        cleaned.encoder.decorrelation = Decorrelation(D, P).double()
        config = replace(
            PAPER, contrast=0.3, transfer=0.3, joint_batch_norm=True, contrast_decorrelated=switch
        )
        TwinCycleObjective(cleaned, config).train()(*pair)
        assert cleaned.encoder.decorrelation.batches == passes


def test_poses_are_approached_along_a_ramp(
    model: TwinCycle, pair: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no noise to the pose, half-way is the mean of both images' embeddings."""
    monkeypatch.setattr("tcae.objectives.contrast._POSE_NOISE", 0)
    model = copy.deepcopy(model).train()
    for ramp, step, share in ((8, 0, 0), (8, 4, 0.5), (8, 9, 1), (8, None, 1), (0, 0, 1)):
        aims = []
        with monkeypatch.context() as patch:
            pose_motion = model.pose_motion

            def spy(source: Tensor, target: Tensor, call=pose_motion, to=aims):
                to.append((source, target))
                return call(source, target)

            patch.setattr(model, "pose_motion", spy)
            TwinCycleObjective(model, replace(PAPER, contrast=1.0, contrast_ramp=ramp))(*pair, step)
        found, wanted = next(aim for aim in aims if len(aim[0]) == 2 * PAIRS)
        other = torch.cat([found[PAIRS:], found[:PAIRS]])
        torch.testing.assert_close(wanted, (1 - share) * found + share * other)


def test_composition_changes_the_reconstruction_alone(model: TwinCycle, pair: Tensor) -> None:
    before = measure(model, PAPER, pair)
    sequence = copy.deepcopy(model)
    sequence.config = replace(model.config, composition="sequence")
    assert changed(before, measure(sequence, PAPER, pair)) == ({"rec"}, {"rec"})


def test_terms_of_weight_zero_are_left_out(model: TwinCycle, pair: Tensor) -> None:
    everything = measure(model, PAPER, pair)
    for switch, names in (
        ("reconstruction", {"rec"}),
        ("sparsity", {"sparsity"}),
        ("cycle", CYCLES),
        ("embedding", DISTANCES),
    ):
        rest = measure(model, replace(PAPER, **{switch: 0.0}), pair)
        assert set(rest) == TERMS - names
        assert changed({name: everything[name] for name in rest}, rest) == (set(), set())


def test_weights_follow_the_ramp(model: TwinCycle, pair: Tensor) -> None:
    config = replace(
        PAPER, cycle=0.2, embedding=0.4, reconstruction_embedding=0.8, ramp_start=3, ramp_steps=4
    )
    objective = TwinCycleObjective(model, config)
    for step, ramp in ((0, 0), (3, 0), (4, 0.25), (6, 0.75), (7, 1), (100, 1), (None, 1)):
        weights = objective.weights(step)
        assert (weights["rec"], weights["sparsity"]) == (1, 0.01)
        for names, weight in ((CYCLES, 0.2), (DISTANCES, 0.4), (EXTRA, 0.8)):
            assert [weights[name] for name in names] == pytest.approx([ramp * weight] * len(names))
    assert set(objective(*pair, step=3)) == {"rec", "sparsity"}
    assert set(objective(*pair, step=4)) == TERMS | EXTRA


def test_every_weight_says_which_terms_it_weighs(model: TwinCycle, pair: Tensor) -> None:
    """All fractions among the options are weights; without one its terms are gone."""
    numbers = {field.name for field in fields(ObjectiveConfig) if type(field.default) is float}
    assert set(LOSS_WEIGHTS) == numbers
    config = replace(PAPER, contrast=0.3, transfer=0.3, reconstruction_embedding=0.3)
    everything = set(measure(model, config, pair))
    for name, weight in LOSS_WEIGHTS.items():
        rest = set(measure(model, replace(config, **{name: 0.0}), pair))
        assert everything - rest == set(weight.terms), name
    assert len(everything) == sum(len(weight.terms) for weight in LOSS_WEIGHTS.values())


def test_a_ramp_of_no_length_is_a_step(model: TwinCycle) -> None:
    objective = TwinCycleObjective(model, replace(PAPER, ramp_start=3))
    assert [objective.weights(step)["cycle_au"] for step in (0, 2, 3, 4)] == [0, 0, 0.1, 0.1]
    assert TwinCycleObjective(model, PAPER).weights(0) == TwinCycleObjective(model, PAPER).weights()


@pytest.mark.parametrize(
    "name", ["ramp_start", "ramp_steps", "cycle", "contrast", "contrast_ramp", "transfer"]
)
def test_impossible_configs_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is -1"):
        ObjectiveConfig(**{name: -1})


def test_presets_are_the_papers_and_the_released_codes_weights() -> None:
    paper, official = OBJECTIVE_PRESETS["paper"], OBJECTIVE_PRESETS["official"]
    for config, scale in ((paper, 1), (official, 10)):
        weights = (config.reconstruction, config.sparsity, config.cycle, config.embedding)
        assert weights == tuple(pytest.approx(scale * w) for w in (1, 0.01, 0.1, 0.1))
        assert config.contrast == config.transfer == 0
    assert paper.reconstruction_embedding == 0 and official.reconstruction_embedding == 1
