"""The configuration of a training run: options, presets, and its YAML file.

Each nested dataclass stands beside the code that it configures, with its own presets.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import torch
import tyro
import yaml

from tcae.cli import command
from tcae.data.pairs import PAIRS_PRESETS, PairsConfig
from tcae.evaluation.unseen import UnseenConfig
from tcae.files.durable import write_durably
from tcae.files.options import Before, FormerValues, Resume, is_free_on_resume, marks
from tcae.files.plain import differences, from_plain, to_plain, up_to_date
from tcae.models.model_config import MODEL_PRESETS, ModelConfig, check_image_size
from tcae.objectives.curriculum import CURRICULUM_PRESETS, CurriculumConfig
from tcae.objectives.objective_config import OBJECTIVE_PRESETS, ObjectiveConfig
from tcae.training.checkpoints import CheckpointsConfig
from tcae.training.device import Compiled
from tcae.training.logbook import LogbookConfig
from tcae.training.optimizer import OPTIMIZER_PRESETS, OptimizerConfig
from tcae.training.validation import VALIDATION_PRESETS, ValidationConfig

CONFIG_FILE = "config.yaml"
"""Name of the configuration file in a run directory."""

VERSIONS = "versions"
"""What the file says beside the options: the programs that the run was begun with."""

PRESET_STEPS = {"default": 3600, "paper": 82_000, "official": 82_000}
"""Number of steps if neither --steps nor --minutes is given. The paper's is 1000 epochs."""

_Option = tyro.conf.arg
# Switches in groups take a value like all other fields: `--pairs.flip False`.
_Group = tyro.conf.FlagConversionOff

_PRESET_VALUES: dict[str, Mapping[str, Any]] = {
    "image_size": {"default": 64, "paper": 256, "official": 256},
    "batch_size": {"default": 32, "paper": 64, "official": 64},
    "model": MODEL_PRESETS,
    "objective": OBJECTIVE_PRESETS,
    "curriculum": CURRICULUM_PRESETS,
    "optimizer": OPTIMIZER_PRESETS,
    "pairs": PAIRS_PRESETS,
    "validation": VALIDATION_PRESETS,
}
_FROM_PRESET: Any = None  # __post_init__ replaces it by the preset's value


@dataclass(frozen=True)
class TrainConfig:
    """Pretrain a twin-cycle autoencoder on pairs of frames of talking faces.

    Without --data it renders talking heads and trains on them within minutes. Then it measures on
    other rendered heads, whose true expressions and poses are known, what the model has learned.
    """

    data: Annotated[
        Path | None,
        _Option(
            help="Packed data set: the directory that tcae.pack wrote, or its URL. Default: "
            "rendered talking heads."
        ),
        Resume.FREE,
    ] = None
    mix: Annotated[
        tuple[str, ...],
        _Option(
            help="Further packed data sets to train on, each as DIR=SHARE with the share of the "
            "pairs that is drawn from it. --data has the rest.",
            metavar="DIR=SHARE",
        ),
        Resume.FREE,
    ] = ()
    out: Annotated[
        Path | None, _Option(help="Run directory. Default: runs/PRESET-DATE-TIME."), Resume.FREE
    ] = None
    config: Annotated[
        Path | None,
        _Option(
            help="YAML file with some of these options, or the config.yaml of a run, which repeats "
            "it. The command line comes before the file."
        ),
        Resume.NOT_SAVED,
    ] = None
    preset: Annotated[
        Literal["default", "paper", "official"],
        _Option(
            help="Defaults of all other options. default: what trains best here. paper: the paper, "
            "read literally. official: the released code with its deviations from the paper."
        ),
    ] = "default"
    image_size: command.ImageSizeOption = _FROM_PRESET
    batch_size: command.BatchSizeOption = _FROM_PRESET
    steps: Annotated[
        int | None,
        _Option(
            help="Optimiser steps. Default: as many as --minutes allows, else "
            + ", ".join(f"{steps} ({preset})" for preset, steps in PRESET_STEPS.items())
            + "."
        ),
    ] = None
    minutes: Annotated[
        float | None,
        _Option(
            help="Time budget. After a few timed steps the number of steps is chosen to fit it. "
            "With --steps the smaller number counts."
        ),
        Resume.FREE,
    ] = None
    seed: command.SeedOption = 0
    device: Annotated[command.DeviceOption, Resume.FREE] = "auto"
    workers: Annotated[command.WorkersOption, Resume.FREE] = 0
    sync_batch_norm: Annotated[
        bool,
        _Option(
            help="With several processes: compute the statistics of batch norm over the whole "
            "batch. Off: each process uses those of its own part, which is faster."
        ),
        Before(True),
    ] = True
    timeout: Annotated[
        float,
        _Option(
            help="With several processes: seconds that they wait for one of them. Then they say "
            "which one does not answer, and end."
        ),
        Resume.FREE,
    ] = 600.0
    compile: Annotated[
        Compiled,
        _Option(
            help="For GPUs. passes: encoder and decoders by torch.compile, replayed as CUDA graphs "
            "(other last bits; needs a C++ compiler; slower on a CPU). step: the whole step as one "
            "CUDA graph, to the same bits; one process only."
        ),
        Before("none"),
        FormerValues(((False, "none"), (True, "passes"))),
    ] = "none"
    recompute: Annotated[
        bool,
        _Option(
            help="Recompute the activations of encoder and decoders for the gradient instead of "
            "keeping them in memory. Needs much less memory and more time. The result is the same "
            "to the bit."
        ),
        Resume.FREE,
    ] = False
    micro_batches: Annotated[
        int,
        _Option(
            help="Parts of the batch that go through encoder and decoders one after the other, to "
            "train with a batch that is too large for the memory. Losses, curriculum and contrast "
            "see the whole batch; batch norm sees a part. Includes --recompute."
        ),
        Before(1),
    ] = 1
    deterministic: Annotated[
        bool,
        _Option(
            help="Compute the same bits in every run on a GPU, which resuming to the bit needs. "
            "Off: faster. A CPU always does."
        ),
        Resume.FREE,
    ] = True
    profile: Annotated[
        int,
        _Option(
            help="Profile so many steps after the first 20: a trace and a table of operators, in "
            "the folder profile of the run. Training then goes on."
        ),
        Resume.NOT_SAVED,
    ] = 0
    max_skipped: Annotated[
        int,
        _Option(
            help="How many steps may be skipped because a loss or the gradient is not finite. One "
            "more stops the run."
        ),
        Resume.FREE,
    ] = 3
    resume: Annotated[
        str | None,
        _Option(
            help="Continue a run exactly where it stopped. Give the path of the run or of one of "
            "its checkpoints. auto: continue the run at --out from its latest usable checkpoint, "
            "or start it if there is none."
        ),
        Resume.NOT_SAVED,
    ] = None
    init_from: Annotated[
        Path | None,
        _Option(
            help="Start a new run from the weights of another one. Give a run, a checkpoint, the "
            "name of weights that ship with the package, such as synthetic-64, or an "
            "encoder.safetensors, which has no decoders: they start anew."
        ),
        Resume.FREE,
    ] = None
    overwrite: Annotated[command.OverwriteOption, Resume.NOT_SAVED] = False
    model: Annotated[ModelConfig, _Group] = _FROM_PRESET
    objective: Annotated[ObjectiveConfig, _Group] = _FROM_PRESET
    curriculum: Annotated[CurriculumConfig, _Group] = _FROM_PRESET
    optimizer: Annotated[OptimizerConfig, _Group] = _FROM_PRESET
    pairs: Annotated[PairsConfig, _Group] = _FROM_PRESET
    validation: Annotated[ValidationConfig, _Group] = _FROM_PRESET
    checkpoints: Annotated[CheckpointsConfig, _Group, Resume.FREE] = field(
        default_factory=CheckpointsConfig
    )
    logbook: Annotated[LogbookConfig, _Group, Resume.FREE] = field(default_factory=LogbookConfig)
    unseen: Annotated[UnseenConfig, _Group, Resume.FREE] = field(default_factory=UnseenConfig)

    def __post_init__(self) -> None:
        if self.preset not in PRESET_STEPS:
            known = ", ".join(PRESET_STEPS)
            raise ValueError(f"preset is {self.preset!r}, it must be one of {known}")
        for name, values in _PRESET_VALUES.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, values[self.preset])
        check_image_size(self.image_size)
        if self.compile not in get_args(Compiled):
            raise ValueError(f"compile is {self.compile!r}, it must be none, passes or step")
        for name in ("batch_size", "steps", "minutes", "timeout"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}, it must be above 0 and finite")
        for name in ("workers", "seed", "profile", "max_skipped"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}, it must not be negative")
        if self.micro_batches < 1 or self.batch_size % self.micro_batches:
            raise ValueError(
                f"micro_batches is {self.micro_batches}, it must divide batch_size, "
                f"{self.batch_size}"
            )
        if self.batch_size == 1 and self.objective.scale_embeddings:
            raise ValueError(
                "batch_size is 1, objective.scale_embeddings needs 2 for a variance over the batch"
            )


PRESETS: dict[str, TrainConfig] = {
    "default": TrainConfig(preset="default"),
    "paper": TrainConfig(preset="paper"),
    "official": TrainConfig(preset="official"),
}
"""What trains best here, the paper read literally, and the released code."""


def resumed_run(resume: str | None, out: Path | str | None) -> Path | None:
    """Return the run directory that --resume means. None without --resume.

    Raises:
        ValueError: It is "auto", and there is no --out.
        FileNotFoundError: The path does not exist.
    """
    if resume is None:
        return None
    if resume == "auto":
        if out is None:
            raise ValueError("--resume auto: needs --out, the run directory to look into")
        return Path(out)
    path = Path(resume)
    if not path.exists():
        raise FileNotFoundError(f"--resume {path}: no such run or checkpoint")
    return path if path.is_dir() else path.resolve().parent.parent


def save_config(config: TrainConfig, run: Path) -> None:
    """Write ``config.yaml``, with the versions of the programs in use."""
    text = yaml.safe_dump(plain_config(config) | {VERSIONS: versions()}, sort_keys=False)
    write_durably(run / CONFIG_FILE, text.encode())


def load_config(run: Path) -> TrainConfig:
    """Read the ``config.yaml`` of a run directory.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML, or a field is unknown or of the wrong type. The error names it.
    """
    path = run / CONFIG_FILE
    plain = read_yaml(path)
    if isinstance(plain, dict):
        plain.pop(VERSIONS, None)
    return from_plain(TrainConfig, plain, str(path))


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML.
    """
    try:
        return yaml.safe_load(path.read_bytes())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not YAML ({error})") from None


def plain_config(config: TrainConfig) -> dict[str, Any]:
    """Return the configuration as plain values, without what concerns one invocation only."""
    saving = marks(TrainConfig, Resume)
    return {
        name: value
        for name, value in to_plain(config).items()
        if saving.get(name) is not Resume.NOT_SAVED
    }


def check_resumable(saved: dict[str, Any], now: TrainConfig, source: str) -> None:
    """Check that a run may be resumed with a configuration, as it changes nothing that is learned.

    Options and groups marked `Resume.FREE` may change. --data and --mix are among them: their
    content is compared elsewhere. --device is another, though a new one changes the last bits.
    --steps may not change, because the learning rate depends on it. If the run is older than an
    option, it goes on with the option's `Before`. An option without one may not be new, unless it
    is free.

    Args:
        saved: The `plain_config` of the run so far.
        now: The configuration to go on with.
        source: Where `saved` comes from, for the error.

    Raises:
        ValueError: A field may not change, or a field of `saved` is unknown. The error names it.
    """
    from_plain(TrainConfig, saved, source)  # its error names an unknown field
    saved = up_to_date(TrainConfig, saved, source)
    for name, (before, after) in differences(saved, plain_config(now)).items():
        if not is_free_on_resume(TrainConfig, name):
            raise ValueError(
                f"--{name.replace('_', '-')}: the run has {before} ({source}), resuming with "
                f"{after} would not continue it; start a new run, perhaps with --init-from"
            )


def describe(config: TrainConfig) -> str:
    """Write the configuration in a line per group, with a star at what differs from the preset."""
    plain, preset = plain_config(config), plain_config(PRESETS[config.preset])
    changed = differences(preset, plain)

    def entries(fields: dict[str, Any], prefix: str = "") -> str:
        return "  ".join(
            f"{name}={value}{'*' if prefix + name in changed else ''}"
            for name, value in fields.items()
        )

    groups = {name: value for name, value in plain.items() if isinstance(value, dict)}
    lines = [entries({k: v for k, v in plain.items() if k not in groups})]
    lines += [f"  {name}: {entries(value, name + '.')}" for name, value in groups.items()]
    return "\n".join(lines)


def versions() -> dict[str, str]:
    """Return the versions of tcae, torch and Python, and the git commit if in a checkout."""
    try:
        own = metadata.version("tcae")
    except metadata.PackageNotFoundError:
        own = "not installed"
    numbers = {"tcae": own, "torch": str(torch.__version__), "python": platform.python_version()}
    commit = _commit()
    return numbers | ({"commit": commit} if commit else {})


def _commit() -> str | None:
    """Return the git commit of the checkout with this file, marked if files were changed."""
    here = Path(__file__).resolve().parent
    if not (here.parent / ".git").exists():
        return None
    git = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def with_steps(config: TrainConfig) -> TrainConfig:
    """Fill in the preset's number of steps if neither --steps nor --minutes was given."""
    if config.steps is None and config.minutes is None:
        return dataclasses.replace(config, steps=PRESET_STEPS[config.preset])
    return config
