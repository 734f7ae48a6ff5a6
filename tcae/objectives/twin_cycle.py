"""The losses of the twin cycle, one value per sample and term: Eq. (1)-(6) of the paper."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tcae.distributed import ranks
from tcae.models.precision import wide
from tcae.models.twin_cycle import Embeddings, Motion, TwinCycle, unit_range
from tcae.objectives.contrast import contrast, disguise
from tcae.objectives.objective_config import LOSS_WEIGHTS, ObjectiveConfig
from tcae_ops import blend_warp, blend_warp_l1, warp, warp_l1

_POSE_NOISE = 0.5  # of the standard deviation of poses: other poses than the batch has


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


class TwinCycleObjective(nn.Module):
    """Every term of the paper's full loss (section 4.1) as a vector with one value per pair.

    All pixel terms are means over channels and positions, embedding terms means over the D
    channels: the normalisation of the full loss. Values are fp32 (fp64 for fp64), also under
    autocast. Terms: `rec` Eq. (2), `sparsity` (1), `cycle_au` (3), `cycle_pose` (4), `emb_au_phi`
    and `emb_au_psi` (5), `emb_pose_phi` and `emb_pose_psi` (6), `contrast`, `transfer`, and the
    released code's `emb_rec_phi` and `emb_rec_psi`.

    Example:
        >>> from tcae.models.twin_cycle import ModelConfig
        >>> objective = TwinCycleObjective(TwinCycle(ModelConfig(), 64), ObjectiveConfig())
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
        """The weight of every term at a step; None: after the ramp."""
        config = self.config
        ramp = _risen(step, config.ramp_start, config.ramp_steps)
        return {
            term: getattr(config, name) * (ramp if weight.ramp else 1.0)
            for name, weight in LOSS_WEIGHTS.items()
            for term in weight.terms
        }

    def total(self, terms: Mapping[str, Tensor], step: int | None = None) -> Tensor:
        """The weighted sum of the terms, (N,)."""
        weights = self.weights(step)
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum(0)

    def forward(
        self,
        source: Tensor,
        target: Tensor,
        step: int | None = None,
        tracks: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute the unweighted terms (N,) of pairs of images (N, 3, S, S), uint8 or in [0, 1].

        Args:
            source: The first images of the pairs.
            target: The second ones.
            step: Of training, for terms that begin later; None: after all ramps.
            tracks: (N,) numbers of the tracks that pairs come from, for `contrast`. Default: each
                from its own.

        Terms whose weight at `step` is 0 are not returned, and what only they need is not computed.

        Raises:
            ValueError: if the images do not have the model's size, or if embedding distances are to
                be divided by the variance of a single pair.
        """
        weights = self.weights(step)
        source, target = unit_range(source), unit_range(target)
        seen, (of_source, of_target) = self._encode(source, target)
        au = self.model.au_motion(of_source.au, of_target.au)
        pose = self.model.pose_motion(of_source.pose, of_target.pose)
        twins = bool(weights["cycle_au"] or weights["emb_au_phi"])
        acted = warp(source, au.flow, units="normalized") if twins or self._in_sequence else source
        l1 = self._reconstruction(source, acted, au, pose, target)
        made = l1(return_warped=True) if weights["emb_rec_phi"] else (l1(),)
        terms = {"rec": made[0], "sparsity": self._sparsity(au.flow)}
        if weights["contrast"] and self.training:  # it draws random numbers
            if tracks is None:
                tracks = torch.arange(len(source), device=source.device)
                tracks = tracks + ranks.rank() * len(source)
            terms["contrast"] = self._contrast(torch.cat([source, target]), seen, tracks, step)
        if weights["transfer"] and self.training:  # it draws random numbers
            terms["transfer"] = self._transfer(source, seen, au.flow)
        if twins:
            turned = warp(source, pose.flow, units="normalized")
            terms |= self._twins(source, of_source, of_target, acted, turned, *made[1:])
        return {name: term for name, term in terms.items() if weights[name]}

    def _twins(
        self,
        source: Tensor,
        of_source: Embeddings,
        of_target: Embeddings,
        acted: Tensor,
        turned: Tensor,
        made: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Cycles and embedding distances of the changed faces, and of the reconstruction if given.

        Pairs that are left out have 0; the others count as many times, so that means are the same.
        """
        some = slice(None, None, self.config.twin_every)
        changed = {} if made is None else {"rec": made[some]}
        changed |= {"au": acted[some], "pose": turned[some]}
        wanted = {
            "au": Embeddings(of_target.au, of_source.pose),
            "pose": Embeddings(of_source.au, of_target.pose),
            "rec": of_target,
        }
        found = dict(zip(changed, self._encode(*changed.values())[1], strict=True))
        terms = {}
        if self.config.cycle:
            au = self.model.au_motion(found["au"].au, of_source.au[some])
            pose = self.model.pose_motion(found["pose"].pose, of_source.pose[some])
            terms["cycle_au"] = self._cycle(changed["au"], au, source[some])
            terms["cycle_pose"] = self._cycle(changed["pose"], pose, source[some])
        for name in changed:
            terms[f"emb_{name}_phi"] = self._distance(found[name].au, wanted[name].au)
            terms[f"emb_{name}_psi"] = self._distance(found[name].pose, wanted[name].pose)
        return {name: self._spread(term, len(source)) for name, term in terms.items()}

    @torch.no_grad()
    def pictures(self, source: Tensor, target: Tensor) -> Pictures:
        """Make the images, flows and masks of pairs to look at. Call it in eval mode.

        In training mode batch norm would count these images in its running statistics.
        """
        source = unit_range(source)
        of_source, of_target = self.model.encode(source), self.model.encode(target)
        au = self.model.au_motion(of_source.au, of_target.au)
        pose = self.model.pose_motion(of_source.pose, of_target.pose)
        flows, logits = (au.flow, pose.flow), (au.logit, pose.logit)
        acted = warp(source, au.flow, units="normalized")
        if self._in_sequence:
            reconstruction, masks = warp(acted, pose.flow, units="normalized"), None
        else:
            reconstruction = blend_warp(source, flows, logits, units="normalized")
            masks = torch.softmax(torch.stack(logits), 0)
        return Pictures(
            reconstruction=reconstruction,
            au_changed=acted,
            pose_changed=warp(source, pose.flow, units="normalized"),
            au_flow=au.flow,
            pose_flow=pose.flow,
            au_mask=None if masks is None else masks[0],
            pose_mask=None if masks is None else masks[1],
        )

    @property
    def _in_sequence(self) -> bool:
        return self.model.config.composition == "sequence"

    def _reconstruction(
        self, source: Tensor, acted: Tensor, au: Motion, pose: Motion, target: Tensor
    ) -> Callable[..., Any]:
        """Function for the L1 (N,) of the reconstruction, Eq. (2), and for its image too."""
        if self._in_sequence:
            return partial(warp_l1, acted, pose.flow, target, units="normalized")
        flows, logits = (au.flow, pose.flow), (au.logit, pose.logit)
        return partial(blend_warp_l1, source, flows, logits, target, units="normalized")

    def _contrast(
        self,
        images: Tensor,
        seen: Sequence[Embeddings],
        tracks: Tensor,
        step: int | None,
    ) -> Tensor:
        """How badly pairs' images, in each other's pose, are told from others of their track."""
        au, pose = (torch.cat(parts) for parts in zip(*seen, strict=True))
        with torch.no_grad():
            pose = wide(pose)
            others = pose.roll(len(tracks), 0)
            like: dict[str, Any] = {"dtype": pose.dtype, "device": pose.device}
            noise = ranks.drawn(torch.randn, len(pose), pose.shape[1], **like)
            others = others + _POSE_NOISE * ranks.gathered(pose).std(0) * noise
            aim = torch.lerp(pose, others, _risen(step, 0, self.config.contrast_ramp))
            flow = self.model.pose_motion(pose, aim).flow
            turned = disguise(warp(images, flow, units="normalized"))
        told = _told(self._seen(turned).au, au, tracks.repeat(2))
        return told.unflatten(0, (2, -1)).mean(0)

    def _transfer(self, source: Tensor, seen: Sequence[Embeddings], flow: Tensor) -> Tensor:
        """How badly each pair's action is told, done by another person, from the other pairs'.

        The flow is given: else it would become a sign for the encoder and move no face. Without the
        disguise the encoder reads the flow off the pixels, and unlearns to tell frames apart.
        """
        # Pairs of one person lie side by side; of fewer than two rows some stay with theirs.
        far = len(source) // 2
        # Half precision would lose what is small beside the embeddings themselves.
        of_source, of_target = (wide(embeddings.au) for embeddings in seen)
        with torch.no_grad():
            acting = disguise(warp(source.roll(far, 0), flow, units="normalized"), of_pair=1)
        found = wide(self._seen(acting).au) - of_source.roll(far, 0)
        return _told(found, of_target - of_source, source.new_zeros(len(source)))

    def _encode(self, *images: Tensor) -> tuple[list[Embeddings], list[Embeddings]]:
        """Embeddings of each batch of images: as contrast and transfer see them, as decoders do."""
        if not images:
            return [], []
        batches = (torch.cat(images),) if self.config.joint_batch_norm else images
        seen = used = self._seen(*batches)
        if not self.config.contrast_decorrelated:
            used = self.model.decorrelated(seen, len(batches))
        return _parted(seen, len(images)), _parted(used, len(images))

    def _seen(self, *images: Tensor) -> Embeddings:
        return self.model.encode(*images, decorrelated=self.config.contrast_decorrelated)

    def _sparsity(self, flow: Tensor) -> Tensor:
        flow = wide(flow)
        if self.config.clamp_sparsity:
            flow = _within_image(flow)
        return flow.abs().mean((1, 2, 3))

    def _cycle(self, changed: Tensor, back: Motion, source: Tensor) -> Tensor:
        if self.config.detach_changed:
            changed = changed.detach()
        return warp_l1(changed, back.flow, source, units="normalized")

    def _distance(self, found: Tensor, wanted: Tensor) -> Tensor:
        found, wanted = wide(found), wide(wanted)
        if self.config.detach_embedding_targets:
            wanted = wanted.detach()
        distance = (found - wanted[:: self.config.twin_every]).square().mean(1)
        if self.config.scale_embeddings:
            distance = distance / _variance(wanted)
        if self.config.shrink_validation and not self.training:
            distance = distance / (ranks.size() * wanted.numel())
        return distance

    def _spread(self, term: Tensor, count: int) -> Tensor:
        """A term of some of `count` pairs as one of all: 0 for the others, and the same mean."""
        if len(term) == count:
            return term
        whole = term.new_zeros(count)
        whole[:: self.config.twin_every] = term * (count / len(term))
        return whole


def _parted(whole: Embeddings, count: int) -> list[Embeddings]:
    """The embeddings of `count` batches of one size."""
    return [
        Embeddings(*part) for part in zip(*(values.chunk(count) for values in whole), strict=True)
    ]


def _told(found: Tensor, wanted: Tensor, tracks: Tensor) -> Tensor:
    """`contrast` of this process's embeddings among those of all processes."""
    parts = (ranks.gathered(values) for values in (found, wanted, tracks))
    return contrast(*parts).chunk(ranks.size())[ranks.rank()]


def _risen(step: int | None, start: int, steps: int) -> float:
    """Height at a step of a ramp from 0 to 1; None: after it."""
    if step is None or step - start >= steps:
        return 1.0
    return max(step - start, 0) / max(steps, 1)


def _within_image(flow: Tensor) -> Tensor:
    """A flow in normalised units, cut where it would leave [-1, 1]."""
    height, width = flow.shape[-2:]
    y = torch.linspace(-1, 1, height, dtype=flow.dtype, device=flow.device)
    x = torch.linspace(-1, 1, width, dtype=flow.dtype, device=flow.device)
    position = torch.stack(torch.meshgrid(x, y, indexing="xy"))
    return flow.clamp(-1 - position, 1 - position)


def _variance(embeddings: Tensor) -> Tensor:
    """Variance over the batch, averaged over channels; a constant to the gradient."""
    embeddings = ranks.gathered(embeddings.detach())
    if len(embeddings) < 2:
        raise ValueError("scale_embeddings divides by a variance over the batch, which has 1 pair")
    return embeddings.var(0, correction=0).mean().clamp_min(1e-12)
