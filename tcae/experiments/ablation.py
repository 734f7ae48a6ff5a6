"""What each part of the twin cycle is good for: it is trained without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tcae.objectives.curriculum import CURRICULUM_PRESETS, CurriculumConfig
from tcae.training.config import TrainConfig

Change = Callable[[TrainConfig], TrainConfig]

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
    objective, everybody = config.objective, config.curriculum.windows == _EVERYBODY

    def weighed(**weights: float) -> TrainConfig:
        return replace(config, objective=replace(objective, **weights))  # type: ignore[arg-type]

    found = {
        "full": Variant("as it is", config),
        "no_cycles": Variant("without cycles", weighed(cycle=0.0)),
        "no_embedding": Variant(
            "without embedding terms", weighed(embedding=0.0, reconstruction_embedding=0.0)
        ),
        "no_l1": Variant("without L1 of the AU flow", weighed(sparsity=0.0)),
        "no_contrast": Variant("without contrast", weighed(contrast=0.0)),
        "no_transfer": Variant("without transfer", weighed(transfer=0.0)),
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


def _without_mask(_: nn.Module, __: object, decoded: Tensor) -> Tensor:
    """The decoder's output (N, 3, S, S) with a logit of 0."""
    return torch.cat([decoded[:, :2], torch.zeros_like(decoded[:, 2:])], 1)
