"""A trained model with all that measuring it takes, from its run or from weights that ship."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from tcae.data.align import AlignmentTemplate
from tcae.data.remote import local_path
from tcae.data.shard_files import PackInfo
from tcae.data.synthetic.packed import WorldFrames, world_of
from tcae.data.synthetic.world import World
from tcae.evaluation.linear_probe import PROBE, PROBE_FILE, LinearProbe, save_probe
from tcae.files.weight_file import digest
from tcae.models.decoder_file import DECODERS_FILE, read_model_weights, save_decoders
from tcae.models.encoder import Encoder
from tcae.models.encoder_file import (
    ENCODER_FILE,
    FrozenEncoder,
    load_encoder,
    load_weights,
    save_encoder,
)
from tcae.models.half_precision import rounded
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.twin_cycle import TwinCycleObjective
from tcae.training.checkpoints import CheckpointFolder
from tcae.training.config import TrainConfig, load_config, save_config
from tcae.training.run_directory import CHECKPOINTS, FABNET
from tcae.weights import find_weights

_BUILT_IN = World()


@dataclass(frozen=True)
class Trained:
    """A trained model.

    Attributes:
        objective: The objective with the model, in eval mode. It computes flows and pictures.
        encoder: The encoder of the model.
        config: The configuration it was trained with.
        world: The rendered people it was trained on. None if they were real.
        fabnet: An encoder that FAb-Net's objective trained for the same time. None if there is
            none.
    """

    objective: TwinCycleObjective
    encoder: FrozenEncoder
    config: TrainConfig
    world: World | None
    fabnet: FrozenEncoder | None = None


def load_trained(run: Path | str, device: torch.device | str = "cpu") -> Trained:
    """Load the model of a finished run, or weights that ship with the package.

    Args:
        run: The run directory, or the name of weights that ship. The data set of a run may be gone
            if it was the built-in one.
        device: Where the model will compute.

    Raises:
        FileNotFoundError: A file is missing. The error names it.
        ValueError: A file is damaged or does not fit the others.
    """
    run = find_weights(run)
    encoder, config = load_encoder(run, device), load_config(run)
    model = TwinCycle(Encoder(config.model, config.image_size))
    load_weights(model, *_all_weights(run))
    if digest(model.encoder.state_dict()) != encoder.fingerprint:
        raise ValueError(
            f"{run}: {ENCODER_FILE} is not of the last checkpoint; let the training run finish"
        )
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Trained(
        TwinCycleObjective(model, config.objective).eval(),
        encoder,
        config,
        _world(run, config),
        fabnet_of(run, device),
    )


def fabnet_of(run: Path, device: torch.device | str) -> FrozenEncoder | None:
    """Load the encoder that FAb-Net's objective trained inside a run. None if there is none."""
    folder = run / FABNET
    return load_encoder(folder, device) if (folder / ENCODER_FILE).exists() else None


def save_trained(directory: Path, trained: Trained, probe: LinearProbe) -> None:
    """Write a model without its run: encoder, decoders, probe, configuration and world.

    `load_trained`, `load_encoder` and `load_probe` read the directory. Matrices and kernels are
    rounded to half precision. Biases and running statistics are not, because they are few. The
    probe is not, because embeddings may have any scale.

    Args:
        directory: The directory to write. It is created.
        trained: A model that was trained on rendered people.
        probe: A probe that was trained on its encoder.

    Raises:
        ValueError: The probe is that of another encoder, a weight is too large for half precision,
            or the model was trained on real people.
    """
    if probe.encoder != trained.encoder.fingerprint:
        raise ValueError(f"probe: is of the encoder {probe.encoder[:12]}, not of this one")
    if trained.world is None:
        raise ValueError("trained: need a model of rendered people, to measure it anywhere")
    directory.mkdir(parents=True, exist_ok=True)
    config, encoder = trained.config, trained.encoder
    model = rounded(trained.objective.model)
    save_encoder(directory / ENCODER_FILE, model.encoder, encoder.template, encoder.crop)
    save_decoders(directory, model)
    copied_probe = copy.deepcopy(probe)
    copied_probe.encoder = load_encoder(directory).fingerprint  # that of the rounded weights
    (directory / PROBE).mkdir(exist_ok=True)
    save_probe(directory / PROBE / PROBE_FILE, copied_probe)
    # The paths of whoever trained it are nobody else's business.
    save_config(replace(config, data=None, mix=(), out=None, init_from=None), directory)
    template = AlignmentTemplate.from_dict(encoder.template)
    settings = WorldFrames(trained.world).settings
    PackInfo(trained.world.image_size, template, settings).save(directory)


def built_in_world(image_size: int) -> World:
    """Return the rendered people that `tcae.train` trains on without --data."""
    return replace(_BUILT_IN, image_size=max(_BUILT_IN.image_size, image_size))


def rendered_world(directory: Path) -> World | None:
    """Return the world that a data set was rendered from. None for videos of real people."""
    try:
        return world_of(directory)
    except ValueError:
        return None


def first_world(directories: Sequence[Path]) -> World | None:
    """Return the world of the first data set that was rendered. None if none was."""
    return next((world for path in directories if (world := rendered_world(path))), None)


def _world(run: Path, config: TrainConfig) -> World | None:
    if (run / DECODERS_FILE).exists():
        return world_of(run)
    if config.data is None:
        return built_in_world(config.image_size)
    places: list[Path | str] = [config.data, *(item.rpartition("=")[0] for item in config.mix)]
    return first_world([local_path(place) for place in places])


def _all_weights(run: Path) -> tuple[Mapping[str, Tensor], str]:
    """Read the weights of encoder and decoders by name, and tell which file they come from."""
    path = run / DECODERS_FILE
    if path.exists():
        return read_model_weights(run), str(path)
    latest = CheckpointFolder(run / CHECKPOINTS).latest()
    if latest is None:
        raise FileNotFoundError(f"{run}: holds neither a checkpoint nor {DECODERS_FILE}")
    return latest[1]["model"], str(latest[0])
