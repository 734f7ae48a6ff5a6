"""The encoder, and a probe if there is one, as a single network for other programs."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from tcae.evaluation.calibration import STRONGEST
from tcae.evaluation.linear_probe import LinearProbe
from tcae.files.network_formats import NetworkFormat, Run, export_network
from tcae.models.encoder_file import FrozenEncoder
from tcae_ops.version import VERSION

TOLERANCE = 1e-4
"""What an exported file may differ from the encoder, see `differences`."""


class ExportedEncoder(nn.Module):
    """From images to embeddings and, with a probe, what it says of action units.

    Decorrelation is a linear layer here: exporters cannot write the solver that finds its
    coefficients. Encoder and probe are copied, and stay as they are.

    Args:
        encoder: The trained encoder, on the CPU.
        probe: A probe of that encoder.

    Raises:
        ValueError: The probe belongs to another encoder.

    Example:
        >>> from tcae import load_encoder, load_probe
        >>> network = ExportedEncoder(load_encoder("synthetic-64"), load_probe("synthetic-64"))
        >>> outputs = network(torch.rand(5, 3, 64, 64))
        >>> outputs["au"].shape, outputs["pose"].shape, outputs["probabilities"].shape
        (torch.Size([5, 128]), torch.Size([5, 16]), torch.Size([5, 21]))
    """

    presence: Tensor | None
    intensity: Tensor | None

    def __init__(self, encoder: FrozenEncoder, probe: LinearProbe | None = None) -> None:
        super().__init__()
        if probe is not None:
            probe.check_encoder(encoder.fingerprint)
        self.encoder, self.probe = deepcopy((encoder.network, probe))
        decorrelation, self.encoder.decorrelation = self.encoder.decorrelation, None
        self.prediction = None if decorrelation is None else decorrelation.prediction()
        calibration = None if self.probe is None else self.probe.calibration
        for name in ("presence", "intensity"):
            line = None if calibration is None else getattr(calibration, name)
            self.register_buffer(name, None if line is None else torch.from_numpy(line).float())
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return `au`, `pose` and, with a probe, `probabilities` of images (N, 3, S, S).

        The images are RGB, float32 in [0, 1]. If the probe knows intensities, there are
        `intensities` too. A probe that was not calibrated has `scores` in place of both.
        """
        au, pose = self.encoder(images)
        if self.prediction is not None:
            au = au - self.prediction(pose)
        outputs = {"au": au, "pose": pose}
        if self.probe is not None:
            logits = self.probe(outputs[self.probe.embedding])
            if self.presence is None:
                outputs["scores"] = logits.sigmoid()
            else:
                outputs["probabilities"] = (self.presence[0] * logits + self.presence[1]).sigmoid()
            if self.intensity is not None:
                share = (self.intensity[0] * logits + self.intensity[1]).sigmoid()
                outputs["intensities"] = STRONGEST * share
        return outputs


def encode_encoder(encoder: FrozenEncoder, probe: LinearProbe | None, form: NetworkFormat) -> bytes:
    """Return the content of a file with the encoder, the probe and their description, checked.

    Raises:
        ValueError: The probe belongs to another encoder, or what the file computes is not what
            they compute.
    """
    program = export_network(ExportedEncoder(encoder, probe), encoder.image_size)
    content = form.encode(program, describe(encoder, probe))
    for name, difference in differences(form.run(content), encoder, probe).items():
        if not difference <= TOLERANCE:  # nor if it is NaN
            raise ValueError(
                f"{name} of {form.runtime} differs from the encoder's by {difference:.1e} of its "
                f"greatest value, at most {TOLERANCE:.0e} is allowed; no file is written"
            )
    return content


def describe(encoder: FrozenEncoder, probe: LinearProbe | None) -> dict[str, Any]:
    """Return what a program must know to show faces to the encoder and to read its outputs."""
    calibration = None if probe is None else probe.calibration
    return {
        "tcae_version": VERSION,
        "encoder": encoder.fingerprint,
        "image_size": encoder.image_size,
        "crop": encoder.crop,
        "template": encoder.template,
        "embedding_size": encoder.embedding_size,
        "pose_size": encoder.pose_size,
        "units": [] if probe is None else list(probe.names),
        "thresholds": [] if calibration is None else calibration.threshold.tolist(),
    }


def differences(run: Run, encoder: FrozenEncoder, probe: LinearProbe | None) -> dict[str, float]:
    """Return how far each output of a file is from the encoder's or the probe's at most.

    A difference is a share of the greatest absolute value that the output has, on an image alone
    or on three at once. They are random, but smooth as photographs are: the embeddings of white
    noise are nearly all the same.
    """
    generator = torch.Generator().manual_seed(0)
    found: dict[str, float] = {}
    for count in (1, 3):
        coarse = torch.rand(count, 3, 8, 8, generator=generator)
        images = interpolate(coarse, (encoder.image_size,) * 2, mode="bilinear")
        truth = encoder.embed(images)._asdict()
        if probe is not None:
            features = truth[probe.embedding].numpy()
            for name in unit_outputs(probe):
                truth[name] = torch.from_numpy(getattr(probe, name)(features))
        outputs = run(images)
        for name, rows in truth.items():
            share = (outputs[name] - rows).abs().max() / rows.abs().max()
            found[name] = float(torch.maximum(share, torch.tensor(found.get(name, 0.0))))
    return found


def unit_outputs(probe: LinearProbe) -> tuple[str, ...]:
    """Return the names of the outputs that a probe adds, which are methods of it too."""
    if probe.calibration is None:
        return ("scores",)
    known = probe.calibration.intensity is not None
    return ("probabilities", "intensities") if known else ("probabilities",)
