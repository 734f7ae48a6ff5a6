"""The ablation: the twin cycle trained without each of its parts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from tcae.objectives.curriculum import CURRICULUM_PRESETS, CurriculumConfig
from tcae.objectives.objective_config import LOSS_WEIGHTS
from tcae.training.config import TrainConfig

_ALL_SAMPLES = CurriculumConfig().windows


@dataclass(frozen=True)
class Variant:
    """A recipe with one thing changed.

    Attributes:
        title: Its name in tables.
        config: The configuration to train with.
        masks: Whether the decoders' masks blend the flows. If not, each flow counts one half.
    """

    title: str
    config: TrainConfig
    masks: bool = True

    def change(self, model: nn.Module) -> None:
        """Remove the masks from a model if the variant has none."""
        if not self.masks:
            for decoder in (model.au_decoder, model.pose_decoder):
                assert isinstance(decoder, nn.Module)
                decoder.register_forward_hook(_without_mask)


def variants(config: TrainConfig) -> dict[str, Variant]:
    """Return the recipe as it is, and without each of the parts that it has.

    If it has no masks or no curriculum, there is a variant with the paper's instead.
    """
    blends = config.model.composition == "blend"
    all_samples = config.curriculum.windows == _ALL_SAMPLES
    candidates = {
        "full": Variant("as it is", config),
        **_without_terms(config),
        "masks": Variant("without masks", config, masks=False)
        if blends
        else Variant(
            "with the paper's masks",
            replace(config, model=replace(config.model, composition="blend")),
        ),
        "curriculum": Variant(
            "with the paper's curriculum" if all_samples else "without curriculum",
            replace(
                config,
                curriculum=CURRICULUM_PRESETS["paper"]
                if all_samples
                else replace(config.curriculum, windows=_ALL_SAMPLES),
            ),
        ),
    }
    return {
        name: variant
        for name, variant in candidates.items()
        if name == "full" or not variant.masks or variant.config != config
    }


def _without_terms(config: TrainConfig) -> dict[str, Variant]:
    """Return the recipe without the loss terms of each ablation that a weight names."""
    titles = {weight.variant: weight.title for weight in LOSS_WEIGHTS.values() if weight.variant}
    ablated = {}
    for variant, title in titles.items():
        names = [name for name, weight in LOSS_WEIGHTS.items() if weight.variant == variant]
        objective = replace(config.objective, **dict.fromkeys(names, 0.0))  # type: ignore[arg-type]
        ablated[variant] = Variant(f"without {title}", replace(config, objective=objective))
    return ablated


def _without_mask(_: nn.Module, __: object, decoded: Tensor) -> Tensor:
    """Set the logit in the decoder's output (N, 3, S, S) to 0."""
    return torch.cat([decoded[:, :2], torch.zeros_like(decoded[:, 2:])], 1)
