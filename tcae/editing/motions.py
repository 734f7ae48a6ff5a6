"""How a face moves from one pair of embeddings to another: what makes the flows of an edit."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from tcae.editing.reading import Reading
from tcae.models.encoder import Embeddings
from tcae.models.twin_cycle import Motion, TwinCycle
from tcae.models.usual_motions import UsualMotions
from tcae_ops import warp


class Motions:
    """Makes flows of aligned faces.

    The flow of a facial action is the sum of two: the decoder's, and the usual one of the change
    that a probe reads. Either alone follows people less well (docs/edit.md). The flow of the pose
    is the decoder's.

    Args:
        model: The twin cycle, in eval mode.
        usual: How faces usually move.
        units: Reads the logits of the same action units from AU embeddings.

    Raises:
        ValueError: The usual motions are of other units than the reading.
    """

    def __init__(self, model: TwinCycle, usual: UsualMotions, units: Reading) -> None:
        if usual.units != units.names:
            raise ValueError(
                f"units: the usual motions are of {', '.join(usual.units)}, the probe reads "
                f"{', '.join(units.names)}; they must be the same"
            )
        self._model, self._usual, self._units = model, usual, units

    @torch.no_grad()
    def flow(self, source: Embeddings, target: Embeddings) -> Tensor:
        """Return the backward flow (2, S, S) that gives a face other embeddings.

        No change of the embeddings is no motion, exactly: what the decoders give for none is taken
        off.

        Args:
            source: The embeddings of the face, one row each.
            target: The embeddings that it is to have.

        Returns:
            x and y in pixels of the aligned face.
        """
        au = _change(self._model.au_motion, source.au, target.au)
        pose = _change(self._model.pose_motion, source.pose, target.pose)
        half = (self._model.image_size - 1) / 2  # pixels of one normalised unit
        before, after = (self._units(e.au).sigmoid() for e in (source, target))
        action = au * half + self._usual(after - before)
        flow: Tensor = (pose * half + warp(action, pose, units="normalized"))[0]
        return flow


def _change(decode: Callable[[Tensor, Tensor], Motion], start: Tensor, end: Tensor) -> Tensor:
    """Return the flow (1, 2, S, S) that a decoder gives, less the one that it gives for no change.

    Embeddings that are the same give exactly none.
    """
    asked, none = decode(start.expand(2, -1), torch.cat([end, start])).flow
    return (asked - none)[None]
