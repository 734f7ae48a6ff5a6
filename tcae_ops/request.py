"""The arguments of an operator, as every part of the package passes them on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

from torch import Tensor

Units = Literal["pixels", "normalized"]
Padding = Literal["border", "zeros", "reflection"]
UNITS: tuple[Units, ...] = get_args(Units)
PADDINGS: tuple[Padding, ...] = get_args(Padding)


class Request(NamedTuple):
    """What is to be computed. One type serves all four operators.

    Attributes:
        image: (N, C, height, width), or one image for all samples: (1, C, height, width).
        flows: K tensors (N, 2, H, W). The warped image is (N, C, H, W).
        logits: K tensors (N, H, W) or (N, 1, H, W). None at all: there is one flow, not blended.
        target: One tensor (N, C, H, W), or none at all: there is no loss.
        units: Of the flows.
        padding: What lies outside the image.
        return_warped: Whether the samples are wanted.
    """

    image: Tensor
    flows: Sequence[Tensor]
    logits: Sequence[Tensor]
    target: Sequence[Tensor]
    units: Units
    padding: Padding
    return_warped: bool

    def of_one_batch(self) -> Request:
        """Repeat flows, logits and target of one sample for the whole batch, without copies.

        One image stays one: the operators themselves sum its gradient. An empty batch has none.
        """
        every = (self.image, *self.flows, *self.logits, *self.target)
        n = next((t.shape[0] for t in every if t.shape[0] != 1), 1)

        def repeated(tensors: Sequence[Tensor]) -> list[Tensor]:
            return [t if t.shape[0] == n else t.expand(n, *t.shape[1:]) for t in tensors]

        image = self.image if n else self.image.expand(0, *self.image.shape[1:])
        fields = repeated(self.flows), repeated(self.logits), repeated(self.target)
        return Request(image, *fields, self.units, self.padding, self.return_warped)

    @staticmethod
    def of(
        inputs: Sequence[Tensor],
        flows: int,
        logits: int,
        units: Units,
        padding: Padding,
        return_warped: bool,
    ) -> Request:
        """Build a request from the arguments of TCAE_OPS_FORWARD in csrc/torch/schemas.h."""
        fields, end = inputs[1 : 1 + flows], 1 + flows + logits
        return Request(
            inputs[0], fields, inputs[1 + flows : end], inputs[end:], units, padding, return_warped
        )
