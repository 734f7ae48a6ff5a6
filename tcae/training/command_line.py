"""What the options of a command line are by default: of a preset, a file, or a resumed run."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from tcae.files.options import Resume, marks
from tcae.files.plain import from_plain, up_to_date
from tcae.training.config import (
    CONFIG_FILE,
    PRESETS,
    VERSIONS,
    TrainConfig,
    load_config,
    plain_config,
    read_yaml,
    resumed_run,
)


def command_line_defaults(argv: Sequence[str]) -> TrainConfig:
    """Return the defaults of a command line's options: its preset's, or those of a resumed run.

    What the file of --config says comes before both.

    Raises:
        ValueError: The preset is unknown, or a configuration file does not fit. The error names
            the field.
        FileNotFoundError: There is no such file, or nothing to resume.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--preset", "--resume", "--out", "--config"):
        parser.add_argument(name)
    try:
        options, _ = parser.parse_known_args(argv)
    except argparse.ArgumentError:
        return PRESETS["default"]  # the real parser will report the error
    if options.preset not in (None, *PRESETS):
        raise ValueError(f"--preset: need one of {', '.join(PRESETS)}, got {options.preset!r}")
    given = _read_file(Path(options.config), options.preset) if options.config else {}
    run = resumed_run(options.resume, options.out or given.get("out"))
    if run is not None and (run / CONFIG_FILE).exists():
        saved = dataclasses.replace(load_config(run), out=run)  # it may have been moved
        given.pop("out", None)
    else:
        saved = PRESETS[options.preset or given.get("preset", "default")]
    if not given:
        return saved
    merged = _merged(plain_config(saved), given)
    return from_plain(TrainConfig, merged, options.config)


def _read_file(path: Path, preset: str | None) -> dict[str, Any]:
    """Return what a configuration file says, without where the run that wrote it lives.

    Args:
        path: A file with some of the options, or the one that a run wrote, which has all of them.
        preset: The option --preset, if it was given.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not YAML, holds what belongs on the command line, or says already what
            the preset would.
    """
    given = read_yaml(path)
    if not isinstance(given, Mapping):
        raise ValueError(f"--config {path}: need named fields, as in the config.yaml of a run")
    for name, saving in marks(TrainConfig, Resume).items():
        if saving is Resume.NOT_SAVED and name in given:
            raise ValueError(f"{path}: {name}: belongs on the command line, as --{name}")
    if given.get("preset", "default") not in PRESETS:
        raise ValueError(f"{path}: preset: need one of {', '.join(PRESETS)}")
    if VERSIONS not in given:
        return dict(given)
    if preset not in (None, given.get("preset")):
        raise ValueError(
            f"--preset {preset}: {path} is of a run, and has the value of every option"
        )
    record = cast("dict[str, Any]", up_to_date(TrainConfig, given, str(path)))
    return {name: value for name, value in record.items() if name not in (VERSIONS, "out")}


def _merged(values: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain values with others in their place, group by group."""
    merged = dict(values)
    for name, value in given.items():
        before = values.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = _merged(before, value)
        merged[name] = value
    return merged
