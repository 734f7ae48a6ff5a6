"""``python -m tcae.export``: write the encoder as a file that runs without this package."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from tcae.cli import command
from tcae.cli.progress import say
from tcae.evaluation.exported_encoder import encode_encoder, unit_outputs
from tcae.evaluation.linear_probe import load_probe
from tcae.files.durable import write_durably
from tcae.files.network_formats import format_of
from tcae.models.encoder_file import load_encoder


@dataclass(frozen=True)
class ExportOptions:
    """Write the encoder to an ONNX file or to an exported program of torch.

    Input: images (N, 3, S, S), RGB, float32 in [0, 1]. Outputs: the embeddings au and pose; with
    --probe also the probabilities and intensities of action units, or the scores of a probe that
    was not calibrated. The file says how faces must be aligned. Before
    it is written, its outputs are compared with those of the encoder.
    """

    encoder: command.EncoderOption
    out: Annotated[
        Path, tyro.conf.arg(help="File: .onnx (needs 'tcae[export]') or .pt2 (torch.export.load).")
    ]
    probe: command.ProbeOption = None
    overwrite: command.OverwriteOption = False


def export(options: ExportOptions) -> int:
    """Run ``tcae export`` and return its exit status."""
    form = format_of(options.out)
    command.check_out_file(options.out, options.overwrite)
    encoder = load_encoder(options.encoder)
    probe = load_probe(options.probe) if options.probe else None
    content = encode_encoder(encoder, probe, form)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_durably(options.out, content)
    say(
        f"{options.out}: {len(content) / 1e6:.1f} MB, checked against the encoder in {form.runtime}"
    )
    side = encoder.image_size
    outputs = f"au (N, {encoder.embedding_size}), pose (N, {encoder.pose_size})"
    if probe is not None:
        kinds = " and ".join(unit_outputs(probe))
        outputs += f", {kinds} (N, {len(probe.names)}) of {' '.join(probe.names)}"
    say(f"images (N, 3, {side}, {side}), RGB, float32 in [0, 1] -> {outputs}")
    return command.DONE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; ``argv`` defaults to the command line."""
    return command.run(export, ExportOptions, prog="tcae.export", argv=argv)


if __name__ == "__main__":
    sys.exit(main())
