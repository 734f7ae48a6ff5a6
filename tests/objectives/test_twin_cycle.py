"""The full loss written out for every preset: values, gradients and batch-norm statistics.

Nothing here calls the objective's parts or `tcae_ops`: images are sampled by `F.grid_sample`, and
the encoder and the decoders are called one by one, in the order the loss is written down. Only what
draws random numbers is called (`augment`), with the same seed.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tcae.models.encoder import Encoder
from tcae.models.model_config import MODEL_PRESETS
from tcae.models.twin_cycle import TwinCycle
from tcae.objectives.augmentation import augment
from tcae.objectives.curriculum import CURRICULUM_PRESETS, Curriculum
from tcae.objectives.objective_config import OBJECTIVE_PRESETS
from tcae.objectives.twin_cycle import TwinCycleObjective

SIZE, PAIRS, D = 32, 6, 4
TRACKS = torch.tensor([7, 7, 3, 7, 3, 5])
STEP = 900  # after the ramp of the cycles, at .6 of that of the poses


def make_model(preset: str) -> TwinCycle:
    """A tiny model whose flows are large and whose batch norms are not at their start."""
    torch.manual_seed(1)
    config = replace(MODEL_PRESETS[preset], base_filters=2, embedding_size=D, pose_size=D)
    model = TwinCycle(Encoder(config, SIZE)).double()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.add_(0.1 * noise)
        if model.encoder.decorrelation is not None:
            model.au_decoder.motion[1].weight.mul_(4)  # both started at zero
            model.pose_decoder.pose.weight.mul_(4)
            for _ in range(20):
                images = torch.rand(8, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)
                au, pose = model.encoder(images)
                model.au_motion(au, au.flip(0))
                model.pose_motion(pose, pose.flip(0))
    return model


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(2, PAIRS, 3, 8, 8, generator=generator, dtype=torch.float64)
    source, target = (F.interpolate(c, SIZE, mode="bilinear", align_corners=True) for c in coarse)
    return source, target


def positions() -> Tensor:
    line = torch.linspace(-1, 1, SIZE, dtype=torch.float64)
    y, x = torch.meshgrid(line, line, indexing="ij")
    return torch.stack([x, y], -1)


def sample(image: Tensor, flow: Tensor) -> Tensor:
    where = (flow.permute(0, 2, 3, 1) + positions()).clamp(-1, 1)
    return F.grid_sample(image, where, align_corners=True)


def pixels(a: Tensor, b: Tensor) -> Tensor:
    """Sum of absolute differences over W x H x 3, divided by W x H x 3 (section 4.1)."""
    return (a - b).abs().sum((1, 2, 3)) / (SIZE * SIZE * 3)


def squared(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).pow(2).sum(1) / D


def split(decoded: Tensor) -> tuple[Tensor, Tensor]:
    return decoded[:, 0:2], decoded[:, 2:3]


def blend(flow_a: Tensor, mask_a: Tensor, flow_p: Tensor, mask_p: Tensor) -> Tensor:
    alpha = mask_a.exp() / (mask_a.exp() + mask_p.exp())
    return alpha * flow_a + (1 - alpha) * flow_p


def easiest_half(losses: Tensor) -> Tensor:
    return losses.sort()[0][: PAIRS // 2].mean()


def paper(model: TwinCycle, source: Tensor, target: Tensor) -> Tensor:
    encode, d_a, d_p = model.encoder, model.au_decoder, model.pose_decoder
    phi_s, psi_s = encode(source)
    phi_t, psi_t = encode(target)
    t_a, mask_a = split(d_a(phi_s, phi_t))
    t_p, mask_p = split(d_p(psi_s, psi_t))
    image_a, image_p = sample(source, t_a), sample(source, t_p)
    phi_a, psi_a = encode(image_a)
    phi_p, psi_p = encode(image_p)
    l_1 = t_a.abs().sum((1, 2, 3)) / (SIZE * SIZE * 2)
    l_rec = pixels(sample(source, blend(t_a, mask_a, t_p, mask_p)), target)
    cycle_a = pixels(sample(image_a, split(d_a(phi_a, phi_s))[0]), source)
    cycle_p = pixels(sample(image_p, split(d_p(psi_p, psi_s))[0]), source)
    l_emb_a = squared(psi_a, psi_s) + squared(phi_a, phi_t)
    l_emb_p = squared(phi_p, phi_s) + squared(psi_p, psi_t)
    return easiest_half(l_rec + 0.01 * l_1 + 0.1 * (cycle_a + cycle_p) + 0.1 * (l_emb_a + l_emb_p))


def official(model: TwinCycle, source: Tensor, target: Tensor) -> Tensor:
    encode, d_a, d_p = model.encoder, model.au_decoder, model.pose_decoder
    phi_s, psi_s = encode(source)
    phi_t, psi_t = encode(target)
    t_a, mask_a = split(d_a(phi_s, phi_t))
    t_p, mask_p = split(d_p(psi_s, psi_t))
    image_a, image_p = sample(source, t_a), sample(source, t_p)
    image = sample(source, blend(t_a, mask_a, t_p, mask_p))
    phi, psi = encode(image)
    phi_a, psi_a = encode(image_a)
    phi_p, psi_p = encode(image_p)
    where = positions().permute(2, 0, 1)
    clamped = (where + t_a).clamp(-1, 1) - where
    terms = [
        10 * pixels(image, target),
        0.1 * clamped.abs().mean((1, 2, 3)),
        pixels(sample(image_a.detach(), split(d_a(phi_a, phi_s))[0]), source),
        pixels(sample(image_p.detach(), split(d_p(psi_p, psi_s))[0]), source),
        squared(psi_a, psi_s),
        squared(phi_a, phi_t),
        squared(phi_p, phi_s),
        squared(psi_p, psi_t),
        squared(phi, phi_t),
        squared(psi, psi_t),
    ]
    return sum(easiest_half(term) for term in terms)  # type: ignore[return-value]


def one_by_one(encode, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
    return *encode(first), *encode(second)


def in_one_pass(encode, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
    whole = encode(torch.cat([first, second]))
    return *(rows[: len(first)] for rows in whole), *(rows[len(first) :] for rows in whole)


class Cleaning:
    """The encoder of `default`: phi less its linear prediction from psi by running moments, psi,
    and phi as it was."""

    def __init__(self, model: TwinCycle) -> None:
        self.encoder, self.training = model.encoder, model.training
        state = model.encoder.decorrelation.state_dict()
        self.phi, self.psi = state["mean"].clone(), state["known_mean"].clone()
        self.within, self.across = state["covariance"].clone(), state["cross"].clone()
        self.count = int(state["batches"])

    def seen(self, images: Tensor) -> tuple[Tensor, Tensor]:
        phi = self.encoder.au_branch(self.encoder.backbone(images))
        return phi, self.encoder.pose_branch(self.encoder.pose_backbone(images))

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        phi, psi = self.seen(images)
        x, y = psi.detach(), phi.detach()
        if self.training:
            self.count += 1
            new = max(0.03, 1 / self.count)
            self.phi = (1 - new) * self.phi + new * y.mean(0)
            self.psi = (1 - new) * self.psi + new * x.mean(0)
            within = (x - self.psi).T @ (x - self.psi) / len(x)
            across = (x - self.psi).T @ (y - self.phi) / len(x)
            self.within = (1 - new) * self.within + new * within
            self.across = (1 - new) * self.across + new * across
        charged = self.within + 0.01 * self.within.diag().diag()
        return phi - (x - self.psi) @ charged.inverse() @ self.across, psi, phi


def told_apart(found: Tensor, wanted: Tensor, tracks: list[int]) -> Tensor:
    """InfoNCE within each track, both ways: (M,) for the M numbers of tracks."""
    values = []
    for i in range(len(tracks)):
        mates = [j for j in range(len(tracks)) if tracks[j] == tracks[i]]
        f = {j: found[j] - found[mates].mean(0) for j in mates}
        w = {j: wanted[j] - wanted[mates].mean(0) for j in mates}

        def odds(a: int, b: int, f=f, w=w) -> Tensor:
            return (f[a] @ w[b] / f[a].norm() / w[b].norm() / 0.15).exp()

        asked = odds(i, i) / torch.stack([odds(i, j) for j in mates]).sum()
        asked_back = odds(i, i) / torch.stack([odds(j, i) for j in mates]).sum()
        values.append(-(asked * asked_back).log() / 2)
    return torch.stack(values)


def default(
    model: TwinCycle, source: Tensor, target: Tensor, both=in_one_pass, cleaned: bool = False
) -> Tensor:
    config = OBJECTIVE_PRESETS["default"]
    encode, d_a, d_p = Cleaning(model), model.au_decoder, model.pose_decoder
    see = encode if cleaned else encode.seen
    phi_s, psi_s, seen_s, phi_t, psi_t, seen_t = both(encode, source, target)
    if cleaned:
        seen_s, seen_t = phi_s, phi_t
    t_a = split(d_a(phi_s, phi_t))[0]
    t_p = split(d_p(psi_s, psi_t))[0]
    image_a, image_p = sample(source, t_a), sample(source, t_p)
    l_contrast = l_transfer = torch.zeros(())
    if model.training:
        with torch.no_grad():
            psi = torch.cat([psi_s, psi_t])
            spread = psi.var(0, correction=1).sqrt()
            other = torch.cat([psi_t, psi_s]) + 0.5 * spread * torch.randn_like(psi)
            aim = psi + STEP / 1500 * (other - psi)
            images = torch.cat([source, target])
            turned = augment(sample(images, split(d_p(psi, aim))[0]))
        found, tracks = see(turned)[0], TRACKS.tolist()
        l_contrast = told_apart(found, torch.cat([seen_s, seen_t]), tracks * 2).mean()
        with torch.no_grad():
            acting = augment(sample(torch.cat([source[3:], source[:3]]), t_a), of_pair=1)
        change = see(acting)[0] - torch.cat([seen_s[3:], seen_s[:3]])
        l_transfer = told_apart(change, seen_t - seen_s, [0] * PAIRS).mean()
    some = [0, 4]  # every fourth
    changed_a, changed_p = image_a[some], image_p[some]
    phi_a, psi_a, _, phi_p, psi_p, _ = both(encode, changed_a, changed_p)

    def distance(found: Tensor, wanted: Tensor) -> Tensor:
        wanted = wanted.detach()
        spread = ((wanted - wanted.mean(0)) ** 2).sum() / (PAIRS * D)
        return squared(found, wanted[some]) / spread

    cycle_a = pixels(sample(changed_a, split(d_a(phi_a, phi_s[some]))[0]), source[some])
    cycle_p = pixels(sample(changed_p, split(d_p(psi_p, psi_s[some]))[0]), source[some])
    l_emb = distance(psi_a, psi_s) + distance(phi_a, phi_t)
    l_emb = l_emb + distance(phi_p, phi_s) + distance(psi_p, psi_t)
    first = config.reconstruction * pixels(sample(image_a, t_p), target)
    first = first + config.sparsity * t_a.abs().mean((1, 2, 3))
    twins = config.cycle * (cycle_a + cycle_p) + config.embedding * l_emb
    told = config.contrast * l_contrast + config.transfer * l_transfer
    return first.mean() + twins.mean() + told


def apart(model: TwinCycle, source: Tensor, target: Tensor) -> Tensor:
    return default(model, source, target, one_by_one)


def cleaned(model: TwinCycle, source: Tensor, target: Tensor) -> Tensor:
    return default(model, source, target, cleaned=True)


@pytest.mark.parametrize(
    ("written_out", "preset", "changes"),
    [
        (paper, "paper", {}),
        # The released code's slip in validation has a test of its own.
        (official, "official", {"shrink_validation": False}),
        (default, "default", {}),
        (apart, "default", {"joint_batch_norm": False}),
        (cleaned, "default", {"contrast_decorrelated": True}),
    ],
)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_full_loss_and_gradients_are_the_written_out_ones(
    written_out, preset: str, changes: dict, training: bool, pair: tuple[Tensor, Tensor]
) -> None:
    model = make_model(preset).train(training)
    twin = copy.deepcopy(model)
    config = replace(OBJECTIVE_PRESETS[preset], **changes)
    objective = TwinCycleObjective(model, config).train(training)

    torch.manual_seed(4)
    terms = objective(*pair, STEP, TRACKS)
    found = Curriculum(CURRICULUM_PRESETS[preset]).loss(terms, objective.weights(STEP))
    found.backward()
    torch.manual_seed(4)
    expected = written_out(twin, *pair)
    expected.backward()

    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-10)
    for name, parameter in model.named_parameters():
        wanted = twin.get_parameter(name).grad
        assert parameter.grad is not None and wanted is not None
        torch.testing.assert_close(
            parameter.grad, wanted, rtol=1e-5, atol=1e-9, msg=lambda m, n=name: f"{n}: {m}"
        )
    for name, buffer in model.named_buffers():
        if "decorrelation" not in name:  # written out above
            torch.testing.assert_close(buffer, twin.get_buffer(name))
    of_source, of_target = (twin.encoder(images) for images in pair)
    for flow in (
        twin.au_motion(of_source.au, of_target.au).flow,
        twin.pose_motion(of_source.pose, of_target.pose).flow,
    ):
        assert flow.abs().max() > 0.1


def test_pairs_without_tracks_come_from_one_each(pair: tuple[Tensor, Tensor]) -> None:
    model = make_model("default")
    found = []
    for tracks in (None, torch.arange(PAIRS), torch.zeros(PAIRS)):
        torch.manual_seed(4)
        objective = TwinCycleObjective(copy.deepcopy(model), OBJECTIVE_PRESETS["default"])
        found.append(objective(*pair, tracks=tracks)["contrast"])
    torch.testing.assert_close(found[0], found[1])
    assert (found[2] - found[0]).abs().max() > 0.1


@pytest.mark.parametrize("preset", OBJECTIVE_PRESETS)
def test_total_is_the_weighted_sum(preset: str, pair: tuple[Tensor, Tensor]) -> None:
    objective = TwinCycleObjective(make_model(preset), OBJECTIVE_PRESETS[preset])
    terms, weights = objective(*pair), objective.weights()
    assert set(terms) == {name for name, weight in weights.items() if weight}
    expected = sum(weights[name] * term for name, term in terms.items())
    torch.testing.assert_close(objective.total(terms), expected)


@pytest.mark.parametrize("preset", OBJECTIVE_PRESETS)
def test_order_of_the_batch_does_not_matter(preset: str, pair: tuple[Tensor, Tensor]) -> None:
    whole = replace(OBJECTIVE_PRESETS[preset], twin_every=1)
    objective = TwinCycleObjective(make_model(preset), whole).eval()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    terms, permuted = objective(*pair), objective(pair[0][order], pair[1][order])
    for name, term in terms.items():
        assert term.shape == (PAIRS,)
        torch.testing.assert_close(permuted[name], term[order])


@pytest.mark.parametrize("preset", OBJECTIVE_PRESETS)
def test_losses_are_fp32_under_autocast(preset: str, pair: tuple[Tensor, Tensor]) -> None:
    source, target = (images.float() for images in pair)
    objective = TwinCycleObjective(make_model(preset).float(), OBJECTIVE_PRESETS[preset])
    state = copy.deepcopy(objective.state_dict())
    torch.manual_seed(4)
    exact = objective(source, target, tracks=TRACKS)
    objective.load_state_dict(state)
    torch.manual_seed(4)
    with torch.autocast("cpu", torch.bfloat16):
        terms = objective(source, target, tracks=TRACKS)
    for name, term in terms.items():
        assert term.dtype == torch.float32
        wanted = exact[name]
        if name == "contrast":  # embeddings nearly alike: rounding decides single answers
            term, wanted = term.mean(), wanted.mean()
        torch.testing.assert_close(term, wanted, rtol=0.3, atol=0.02)
    objective.total(terms).mean().backward()


def test_uint8_images_are_read_as_value_over_255() -> None:
    images = torch.randint(0, 256, (2, 4, 3, SIZE, SIZE), dtype=torch.uint8)
    objective = TwinCycleObjective(make_model("official").float(), OBJECTIVE_PRESETS["official"])
    objective.eval()
    whole, floats = objective(*images), objective(*(images.float() / 255))
    for name, term in whole.items():
        torch.testing.assert_close(term, floats[name])


def test_pictures(pair: tuple[Tensor, Tensor]) -> None:
    source, target = pair
    model = make_model("paper").eval()
    pictures = TwinCycleObjective(model, OBJECTIVE_PRESETS["paper"]).pictures(source, target)
    (phi_s, psi_s), (phi_t, psi_t) = model.encoder(source), model.encoder(target)
    t_a, mask_a = split(model.au_decoder(phi_s, phi_t))
    t_p, mask_p = split(model.pose_decoder(psi_s, psi_t))
    expected = {
        "reconstruction": sample(source, blend(t_a, mask_a, t_p, mask_p)),
        "au_changed": sample(source, t_a),
        "pose_changed": sample(source, t_p),
        "au_flow": t_a,
        "pose_flow": t_p,
        "au_mask": (mask_a - mask_p).sigmoid(),
        "pose_mask": (mask_p - mask_a).sigmoid(),
    }
    assert set(expected) == set(pictures._fields)
    for name, picture in pictures._asdict().items():
        assert not picture.requires_grad
        torch.testing.assert_close(picture, expected[name])


def test_pictures_in_sequence_have_no_masks(pair: tuple[Tensor, Tensor]) -> None:
    source, target = pair
    model = make_model("default").eval()
    pictures = TwinCycleObjective(model, OBJECTIVE_PRESETS["default"]).pictures(source, target)
    encode = Cleaning(model)
    (phi_s, psi_s, _), (phi_t, psi_t, _) = encode(source), encode(target)
    t_a = split(model.au_decoder(phi_s, phi_t))[0]
    t_p = split(model.pose_decoder(psi_s, psi_t))[0]
    assert pictures.au_mask is None and pictures.pose_mask is None
    expected = {
        "reconstruction": sample(sample(source, t_a), t_p),
        "au_changed": sample(source, t_a),
        "pose_changed": sample(source, t_p),
        "au_flow": t_a,
        "pose_flow": t_p,
    }
    for name, picture in expected.items():
        torch.testing.assert_close(getattr(pictures, name), picture.detach())


def test_a_small_batch_is_learned_by_heart() -> None:
    torch.manual_seed(0)
    coarse = torch.rand(4, 3, 6, 6)
    source = F.interpolate(coarse, (SIZE, SIZE), mode="bicubic").clamp(0, 1)
    target = source.roll((2, -3), (2, 3))
    model = TwinCycle(
        Encoder(replace(MODEL_PRESETS["default"], base_filters=4, embedding_size=16), SIZE)
    )
    objective = TwinCycleObjective(model, replace(OBJECTIVE_PRESETS["default"], ramp_start=10))
    curriculum = Curriculum(CURRICULUM_PRESETS["default"])
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    identity = (source - target).abs().mean()
    for step in range(60):
        terms = objective(source, target, step)
        if step == 0:
            torch.testing.assert_close(terms["rec"].mean(), identity)
        optimizer.zero_grad()
        curriculum.loss(terms, objective.weights(step)).backward()
        optimizer.step()
    assert terms["rec"].mean() < 0.6 * identity
