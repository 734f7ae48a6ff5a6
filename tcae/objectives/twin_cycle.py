"""The losses of the twin cycle, one value per sample and term: Eq. (1)-(6) of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tcae.distributed import ranks
from tcae.models.encoder import Embeddings, unit_range
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.contrast import contrast
from tcae.objectives.cycle import cycle
from tcae.objectives.embedding_distance import embedding_distance
from tcae.objectives.objective_config import LOSS_WEIGHTS, ObjectiveConfig
from tcae.objectives.reconstruction import reconstruct, reconstruction
from tcae.objectives.sparsity import sparsity
from tcae.objectives.transfer import transfer
from tcae_ops import warp


class Pictures(NamedTuple):
    """What the model makes of pairs.

    Images (N, 3, S, S) in [0, 1], flows (N, 2, S, S) in normalised units, and blending weights
    (N, 1, S, S) that sum to 1; None where the flows are not blended.
    """

    reconstruction: Tensor
    au_changed: Tensor
    pose_changed: Tensor
    au_flow: Tensor
    pose_flow: Tensor
    au_mask: Tensor | None
    pose_mask: Tensor | None


class Ramps(NamedTuple):
    """How high the ramps of the objective are at a step.

    Attributes:
        weights: The weights of the terms that take part, by name: numbers, or tensors () on the
            device for a step that is recorded and replayed at other heights.
        pose_share: How far `contrast` takes frames to the other pose, from 0 to 1; a number or a
            tensor too.
    """

    weights: Mapping[str, float | Tensor]
    pose_share: float | Tensor


class TwinCycleObjective(nn.Module):
    """Every term of the paper's full loss (section 4.1) as a vector with one value per pair.

    All pixel terms are means over channels and positions, embedding terms means over the D
    channels: the normalisation of the full loss. Values are fp32 (fp64 for fp64), also under
    autocast. Terms: `rec` Eq. (2), `sparsity` (1), `cycle_au` (3), `cycle_pose` (4), `emb_au_phi`
    and `emb_au_psi` (5), `emb_pose_phi` and `emb_pose_psi` (6), `contrast`, `transfer`, and the
    released code's `emb_rec_phi` and `emb_rec_psi`.

    Example:
        >>> from tcae.models.encoder import Encoder
        >>> from tcae.models.model_config import ModelConfig
        >>> objective = TwinCycleObjective(TwinCycle(Encoder(ModelConfig(), 64)), ObjectiveConfig())
        >>> source, target = torch.rand(2, 4, 3, 64, 64)
        >>> terms = objective(source, target, 100)
        >>> terms["rec"].shape
        torch.Size([4])
        >>> loss = objective.total(terms, 100).mean()
    """

    def __init__(self, model: TwinCycle, config: ObjectiveConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def weights(self, step: int | None = None) -> dict[str, float]:
        """Return the weight of every term at a step; None: after the ramp."""
        config = self.config
        ramp = _ramp(step, config.ramp_start, config.ramp_steps)
        return {
            term: getattr(config, name) * (ramp if weight.ramp else 1.0)
            for name, weight in LOSS_WEIGHTS.items()
            for term in weight.terms
        }

    def ramps(self, step: int | None = None) -> Ramps:
        """Return the heights of all ramps at a step; None: after them."""
        weights = {name: weight for name, weight in self.weights(step).items() if weight}
        return Ramps(weights, _ramp(step, 0, self.config.contrast_ramp))

    def total(self, terms: Mapping[str, Tensor], step: int | None = None) -> Tensor:
        """Return the weighted sum (N,) of the terms."""
        weights = self.weights(step)
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum(0)

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        step: int | Ramps | None = None,
        tracks: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the unweighted terms (N,) of pairs of images (N, 3, S, S), uint8 or in [0, 1].

        Terms whose weight at `step` is 0 are not returned, and what only they need is not computed.
        Terms that draw random numbers are computed in training mode only.

        Args:
            source: The first images of the pairs.
            target: The second ones.
            step: Of training, for terms that begin later, or its ramps; None: after all ramps.
            tracks: (N,) numbers of the tracks that pairs come from, for `contrast`. Default: each
                from its own.

        Raises:
            ValueError: The images do not have the model's size, or embedding distances are to be
                divided by the variance of a single pair.
        """
        weights, pose_share = step if isinstance(step, Ramps) else self.ramps(step)
        source, target = unit_range(source), unit_range(target)
        for_contrast, (of_source, of_target) = self._encode(source, target)
        au = self.model.au_motion(of_source.au, of_target.au)
        pose = self.model.pose_motion(of_source.pose, of_target.pose)
        twins = any(name in weights for name in ("cycle_au", "emb_au_phi", "emb_rec_phi"))
        changed: dict[str, Tensor] = {}
        if twins or self._in_sequence:
            changed["au"] = warp(source, au.flow, units="normalized")
        first = changed["au"] if self._in_sequence else None
        with_image = "emb_rec_phi" in weights
        rec, image = reconstruction(source, first, au, pose, target, with_image)
        terms = {"rec": rec, "sparsity": sparsity(au.flow, self.config.clamp_sparsity)}
        if "contrast" in weights and self.training:
            tracks = _own_tracks(source) if tracks is None else tracks
            pair = torch.cat([source, target])
            terms["contrast"] = contrast(
                self.model, self._embed, pair, for_contrast, tracks, pose_share
            )
        if "transfer" in weights and self.training:
            terms["transfer"] = transfer(self._embed, source, for_contrast, au.flow)
        if twins:
            changed["pose"] = warp(source, pose.flow, units="normalized")
            if image is not None:
                changed = {"rec": image, **changed}
            terms |= self._twins(source, of_source, of_target, changed)
        return {name: term for name, term in terms.items() if name in weights}

    def _twins(
        self,
        source: Tensor,
        of_source: Embeddings,
        of_target: Embeddings,
        changed: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Return the cycles and embedding distances of the changed faces (N, 3, S, S).

        Pairs that are left out have 0. The others count as many times, so that means are the same.
        """
        some = slice(None, None, self.config.twin_every)
        changed = {name: images[some] for name, images in changed.items()}
        targets = {
            "au": Embeddings(of_target.au, of_source.pose),
            "pose": Embeddings(of_source.au, of_target.pose),
            "rec": of_target,
        }
        embeddings = dict(zip(changed, self._encode(*changed.values())[1], strict=True))
        terms = {}
        if self.config.cycle:
            back = {
                "au": self.model.au_motion(embeddings["au"].au, of_source.au[some]),
                "pose": self.model.pose_motion(embeddings["pose"].pose, of_source.pose[some]),
            }
            for name, motion in back.items():
                terms[f"cycle_{name}"] = cycle(
                    changed[name], motion.flow, source[some], self.config.detach_changed
                )
        for name, found in embeddings.items():
            for symbol, values, wanted in zip(("phi", "psi"), found, targets[name], strict=True):
                terms[f"emb_{name}_{symbol}"] = embedding_distance(
                    values, wanted, self.config, self.training
                )
        return {name: self._spread(term, len(source)) for name, term in terms.items()}

    @torch.no_grad()
    def pictures(self, source: Tensor, target: Tensor) -> Pictures:
        """Return the images, flows and masks of pairs to look at. Call it in eval mode.

        In training mode these images would enter the running statistics of batch norm.
        """
        source = unit_range(source)
        of_source, of_target = self.model.encoder(source), self.model.encoder(target)
        au = self.model.au_motion(of_source.au, of_target.au)
        pose = self.model.pose_motion(of_source.pose, of_target.pose)
        au_changed = warp(source, au.flow, units="normalized")
        masks = None if self._in_sequence else torch.softmax(torch.stack([au.logit, pose.logit]), 0)
        return Pictures(
            reconstruction=reconstruct(source, au_changed if self._in_sequence else None, au, pose),
            au_changed=au_changed,
            pose_changed=warp(source, pose.flow, units="normalized"),
            au_flow=au.flow,
            pose_flow=pose.flow,
            au_mask=None if masks is None else masks[0],
            pose_mask=None if masks is None else masks[1],
        )

    @property
    def _in_sequence(self) -> bool:
        return self.model.config.composition == "sequence"

    def _encode(self, *images: Tensor) -> tuple[list[Embeddings], list[Embeddings]]:
        """Embed batches of images of one size: for contrast and transfer, and for the decoders."""
        batches = (torch.cat(images),) if self.config.joint_batch_norm else images
        for_contrast = for_decoders = self._embed(*batches)
        if not self.config.contrast_decorrelated:
            for_decoders = self.model.encoder.decorrelated(for_contrast, len(batches))
        return _parts(for_contrast, len(images)), _parts(for_decoders, len(images))

    def _embed(self, *images: Tensor) -> Embeddings:
        """Return the embeddings for contrast and transfer, of all batches in one."""
        encoder = self.model.encoder
        embed = encoder if self.config.contrast_decorrelated else encoder.correlated
        embeddings: Embeddings = embed(*images)
        return embeddings

    def _spread(self, term: Tensor, count: int) -> Tensor:
        """Make a term of some of `count` pairs one of all: 0 for the others, and the same mean."""
        if len(term) == count:
            return term
        whole = term.new_zeros(count)
        whole[:: self.config.twin_every] = term * (count / len(term))
        return whole


def _parts(whole: Embeddings, count: int) -> list[Embeddings]:
    """Return the embeddings of `count` batches of one size."""
    return [
        Embeddings(*part) for part in zip(*(values.chunk(count) for values in whole), strict=True)
    ]


def _own_tracks(source: Tensor) -> Tensor:
    """Return numbers of tracks (N,), another one for each pair of all processes."""
    return torch.arange(len(source), device=source.device) + ranks.rank() * len(source)


def _ramp(step: int | None, start: int, steps: int) -> float:
    """Return the height at a step of a ramp from 0 to 1; None: after it."""
    if step is None or step - start >= steps:
        return 1.0
    return max(step - start, 0) / max(steps, 1)
