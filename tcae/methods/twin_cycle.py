"""TCAE: the AU embedding of a twin cycle, trained here or taken from a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tcae.methods.method import Material, Method
from tcae.methods.training import train_twin_cycle
from tcae.models.encoder_file import FrozenEncoder, load_encoder


def _trained(material: Material) -> FrozenEncoder:
    config = replace(material.config, out=material.folder, minutes=material.minutes)
    trainer = train_twin_cycle(config, material.frames("tcae"))
    return load_encoder(trainer.run, material.device)


TWIN_CYCLE = Method("tcae", "TCAE", "self-supervised", _trained, "twin_cycle")


def trained_elsewhere(run_or_file: Path | str) -> Method:
    """Take TCAE from a run directory, an encoder file, or weights that ship by their name."""
    return replace(
        TWIN_CYCLE,
        make=lambda material: load_encoder(run_or_file, material.device),
        cost="nothing",
    )
