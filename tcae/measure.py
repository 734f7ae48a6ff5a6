"""``python -m tcae.measure``: print the measures of a trained model beside their goals."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import tyro

from tcae.cli import command
from tcae.cli.progress import say
from tcae.evaluation.agreement import agreement_table, mean_correlation
from tcae.evaluation.clips import agreement_on_clips
from tcae.evaluation.estimates import Estimate
from tcae.evaluation.extraction import Extractor
from tcae.evaluation.linear_probe import load_probe
from tcae.evaluation.unseen import UnseenConfig
from tcae.measuring.people import CACHE, measure_unseen
from tcae.measuring.trained import load_trained
from tcae.methods.fine_tuning import SETTINGS
from tcae.models.encoder_file import load_encoder
from tcae.report.goals import goals_text
from tcae.weights import find_weights


@dataclass(frozen=True)
class MeasureOptions:
    """Print the measures of a trained model beside their goals, with 95 % intervals over people.

    A model of rendered people is measured on other people of the same world, who are rendered for
    it. With --clips its action units on real faces are compared with those of an independent
    landmarker (needs 'tcae[landmarker]'). A model of real people has this measure only, and so has
    a directory of tcae.finetune.
    """

    encoder: Annotated[
        Path,
        tyro.conf.arg(
            help="A run directory of tcae.train, a directory of tcae.finetune, or the name of "
            "weights that ship with the package, such as synthetic-64."
        ),
    ]
    clips: Annotated[
        Path | None, tyro.conf.arg(help="A video of one real person, or a folder of such videos.")
    ] = None
    probe: Annotated[
        Path | None,
        tyro.conf.arg(
            help="Probe whose outputs are compared on the clips. Default: the model's own."
        ),
    ] = None
    cache: Annotated[
        Path, tyro.conf.arg(help="Directory that keeps rendered people for the next time.")
    ] = Path("runs") / CACHE
    device: command.DeviceOption = "auto"
    unseen: UnseenConfig = field(default_factory=UnseenConfig)


def measure(options: MeasureOptions) -> int:
    """Run ``tcae measure`` and return its exit status."""
    device = command.device_of(options.device)
    tuned = (find_weights(options.encoder) / SETTINGS).exists()
    if tuned and options.clips is None:
        raise ValueError(
            f"--encoder {options.encoder}: of tcae.finetune, its scores are in its summary.json; "
            "--clips is needed to measure more"
        )
    measures: dict[str, Estimate] = {}
    if options.clips is not None:
        encoder = load_encoder(options.encoder, device)
        probe = load_probe(options.probe or options.encoder, device)
        rows = agreement_on_clips(options.clips, Extractor(encoder, probe, ()))
        say(agreement_table(rows))
        correlation, count = mean_correlation(rows)
        measures |= {"clips_correlation": Estimate(correlation)} if count else {}
    if not tuned:
        trained = load_trained(options.encoder, device)
        trained = replace(trained, config=replace(trained.config, unseen=options.unseen))
        if trained.world is not None or options.clips is None:
            measures |= measure_unseen(trained, options.cache).measures
    say(goals_text(measures))
    return command.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(measure, MeasureOptions, prog="tcae.measure", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
