from __future__ import annotations

from dataclasses import replace

import torch

from tcae.experiments.ablation import variants
from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS
from tcae.models.twin_cycle import TwinCycle
from tcae.training.config import PRESETS

SMALL = replace(MODEL_PRESETS["paper"], base_filters=4, embedding_size=8, pose_size=8)


def test_each_variant_differs_in_one_thing():
    paper = PRESETS["paper"]
    found = variants(paper)
    assert list(found) == ["full", "no_cycles", "no_embedding", "no_l1", "masks", "curriculum"]
    assert found["full"].config == found["masks"].config == paper
    for name, field in (
        ("no_cycles", "cycle"),
        ("no_embedding", "embedding"),
        ("no_l1", "sparsity"),
    ):
        expected = replace(paper, objective=replace(paper.objective, **{field: 0.0}))
        assert found[name].config == expected and found[name].masks
    assert found["curriculum"].title == "without curriculum"
    assert found["curriculum"].config.curriculum.windows == ((0.0, 1.0),)


def test_terms_are_taken_out_under_the_names_of_published_tables():
    default = PRESETS["default"]
    objective = replace(default.objective, reconstruction_embedding=0.5)
    found = variants(replace(default, objective=objective))
    titles = {
        "no_cycles": "without cycles",
        "no_embedding": "without embedding terms",
        "no_l1": "without L1 of the AU flow",
        "no_contrast": "without contrast",
        "no_transfer": "without transfer",
    }
    assert list(found) == ["full", *titles, "masks", "curriculum"]
    assert {name: found[name].title for name in titles} == titles
    # The two weights of embedding distances go together.
    expected = replace(objective, embedding=0.0, reconstruction_embedding=0.0)
    assert found["no_embedding"].config.objective == expected
    for name, field in (("no_contrast", "contrast"), ("no_transfer", "transfer")):
        assert found[name].config.objective == replace(objective, **{field: 0.0})


def test_what_a_recipe_lacks_cannot_be_taken_out():
    base = PRESETS["paper"]
    poor = replace(base, objective=replace(base.objective, sparsity=0.0))
    poor = replace(poor, curriculum=replace(poor.curriculum, windows=((0.0, 1.0),)))
    found = variants(poor)
    assert "no_l1" not in found and "no_contrast" not in found
    assert found["curriculum"].title == "with the paper's curriculum"
    assert found["curriculum"].config.curriculum == base.curriculum


def test_without_masks_both_flows_count_one_half():
    torch.manual_seed(0)
    model = TwinCycle(Encoder(SMALL, 32))
    source, target = torch.randn(2, 3, 8)
    before = model.au_motion(source, target)
    assert float(before.logit.detach().abs().max()) > 0
    variants(PRESETS["paper"])["masks"].change(model)
    for motion in (model.au_motion(source, target), model.pose_motion(source, target)):
        assert torch.count_nonzero(motion.logit) == 0
        assert float(motion.flow.detach().abs().max()) > 0
    model.eval()
    with torch.no_grad():
        flow = model.au_motion(source, target).flow
    plain = TwinCycle(Encoder(SMALL, 32))
    plain.load_state_dict(model.state_dict())
    variants(PRESETS["paper"])["full"].change(plain)
    with torch.no_grad():
        same = plain.eval().au_motion(source, target)
    torch.testing.assert_close(same.flow, flow)
    assert float(same.logit.abs().max()) > 0


def test_a_recipe_that_blends_nothing_is_compared_with_one_that_does():
    default = PRESETS["default"]
    model = replace(default.model, composition="sequence")
    found = variants(replace(default, model=model))["masks"]
    assert found.title == "with the paper's masks" and found.masks
    assert found.config == replace(default, model=replace(model, composition="blend"))
