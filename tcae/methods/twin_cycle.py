"""TCAE: the AU embedding of a twin cycle, trained here or loaded from a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tcae.methods.method import Material, Method
from tcae.methods.training import train_twin_cycle
from tcae.models.encoder_file import FrozenEncoder, load_encoder


def _train(material: Material) -> FrozenEncoder:
    config = replace(material.config, out=material.folder, minutes=material.minutes)
    trainer = train_twin_cycle(config, material.frames("tcae"))
    return load_encoder(trainer.run, material.device)


TWIN_CYCLE = Method("tcae", "TCAE", "self-supervised", _train, "twin_cycle")


def twin_cycle_from(run_or_file: Path | str) -> Method:
    """Define TCAE with an encoder from a run directory, a file, or weights that ship, by name."""
    return replace(
        TWIN_CYCLE,
        make=lambda material: load_encoder(run_or_file, material.device),
        cost="nothing",
    )
