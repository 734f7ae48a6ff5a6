"""What each part of the twin cycle is good for: it is trained without it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tcae.objectives.curriculum import CURRICULUM_PRESETS, CurriculumConfig
from tcae.objectives.objective_config import LOSS_WEIGHTS
from tcae.training.config import TrainConfig

_EVERYBODY = CurriculumConfig().windows


@dataclass(frozen=True)
class Variant:
    """A recipe with one thing changed.

    Attributes:
        title: What tables call it.
        config: The recipe.
        masks: Whether the decoders' masks blend the flows; otherwise both count one half.
    """

    title: str
    config: TrainConfig
    masks: bool = True

    def change(self, model: nn.Module) -> None:
        """Take the masks out of a model, if they are to be."""
        if not self.masks:
            for decoder in (model.au_decoder, model.pose_decoder):
                assert isinstance(decoder, nn.Module)
                decoder.register_forward_hook(_without_mask)


def variants(config: TrainConfig) -> dict[str, Variant]:
    """The recipe, and the recipe without each of its parts; parts that it lacks are left out.

    A recipe without masks or a curriculum is compared with the same one with the paper's.
    """
    blends = config.model.composition == "blend"
    everybody = config.curriculum.windows == _EVERYBODY
    found = {
        "full": Variant("as it is", config),
        **_without_terms(config),
        "masks": Variant("without masks", config, masks=False)
        if blends
        else Variant(
            "with the paper's masks",
            replace(config, model=replace(config.model, composition="blend")),
        ),
        "curriculum": Variant(
            "with the paper's curriculum" if everybody else "without curriculum",
            replace(
                config,
                curriculum=CURRICULUM_PRESETS["paper"]
                if everybody
                else replace(config.curriculum, windows=_EVERYBODY),
            ),
        ),
    }
    return {
        name: variant
        for name, variant in found.items()
        if name == "full" or not variant.masks or variant.config != config
    }


def _without_terms(config: TrainConfig) -> dict[str, Variant]:
    """The recipe without the terms of each ablation that a weight names."""
    titles = {weight.variant: weight.title for weight in LOSS_WEIGHTS.values() if weight.variant}
    found = {}
    for variant, title in titles.items():
        names = [name for name, weight in LOSS_WEIGHTS.items() if weight.variant == variant]
        objective = replace(config.objective, **dict.fromkeys(names, 0.0))  # type: ignore[arg-type]
        found[variant] = Variant(f"without {title}", replace(config, objective=objective))
    return found


def _without_mask(_: nn.Module, __: object, decoded: Tensor) -> Tensor:
    """The decoder's output (N, 3, S, S) with a logit of 0."""
    return torch.cat([decoded[:, :2], torch.zeros_like(decoded[:, 2:])], 1)
