"""Telling frames of a track apart: by hand, by a loop, and what must not matter."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tcae.objectives.info_nce import info_nce

TRACKS = torch.tensor([4, 9, 4, 2, 9, 4, 9, 9])


def embeddings(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(8, 3, generator=generator, dtype=torch.float64)
    return found.to(dtype), (found + 0.5 * torch.randn(8, 3, generator=generator)).to(dtype)


def written_out(found: Tensor, wanted: Tensor, tracks: Tensor) -> Tensor:
    values = []
    for i, track in enumerate(tracks.tolist()):
        mates = [j for j, other in enumerate(tracks.tolist()) if other == track]
        found_mean = sum(found[j] for j in mates) / len(mates)
        wanted_mean = sum(wanted[j] for j in mates) / len(mates)

        def odds(a: int, b: int, of=(found_mean, wanted_mean)) -> float:
            one, other = found[a] - of[0], wanted[b] - of[1]
            length = max(float(one.norm()), 1e-4) * max(float(other.norm()), 1e-4)
            return math.exp(float(one @ other) / length / 0.15)

        asked = odds(i, i) / sum(odds(i, j) for j in mates)
        asked_back = odds(i, i) / sum(odds(j, i) for j in mates)
        values.append(-(math.log(asked) + math.log(asked_back)) / 2)
    return torch.tensor(values, dtype=torch.float64)


def test_two_frames_by_hand() -> None:
    """Means (1, 2) and (5, 5): differences +-(2, 0) and +-(0, 1), +-(3, 0): cosines 0 and 1."""
    tracks = torch.zeros(2)
    found = torch.tensor([[3.0, 2.0], [-1.0, 2.0]])
    across = torch.tensor([[5.0, 6.0], [5.0, 4.0]])
    torch.testing.assert_close(info_nce(found, across, tracks), torch.full((2,), math.log(2)))
    along = torch.tensor([[8.0, 5.0], [2.0, 5.0]])
    right, wrong = math.log1p(math.exp(-2 / 0.15)), math.log1p(math.exp(2 / 0.15))
    for wanted, expected in ((along, right), (along.flip(0), wrong)):
        torch.testing.assert_close(info_nce(found, wanted, tracks), torch.full((2,), expected))


def test_several_tracks_of_unequal_length() -> None:
    found, wanted = embeddings()
    torch.testing.assert_close(info_nce(found, wanted, TRACKS), written_out(found, wanted, TRACKS))


def test_order_and_numbers_of_tracks_do_not_matter() -> None:
    found, wanted = embeddings()
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    expected = info_nce(found, wanted, TRACKS)
    permuted = info_nce(found[order], wanted[order], TRACKS[order] * 7 - 100)
    torch.testing.assert_close(permuted, expected[order])


def test_what_a_track_has_in_common_does_not_matter() -> None:
    found, wanted = embeddings()
    person = torch.randn(10, 3, dtype=torch.float64)[TRACKS]
    expected = info_nce(found, wanted, TRACKS)
    torch.testing.assert_close(info_nce(found + person, wanted, TRACKS), expected)
    torch.testing.assert_close(info_nce(found, 5 * wanted - 9 * person, TRACKS), expected)


def test_a_track_says_nothing_about_another() -> None:
    found, wanted = embeddings()
    alone = TRACKS == 9
    torch.testing.assert_close(
        info_nce(found[alone], wanted[alone], TRACKS[alone]), info_nce(found, wanted, TRACKS)[alone]
    )


def test_a_frame_without_wrong_answers_is_told_and_teaches_nothing() -> None:
    found, wanted = (values.requires_grad_() for values in embeddings())
    loss = info_nce(found, wanted, TRACKS)
    assert loss[3] == 0 and (loss[TRACKS != 2] > 0).all()
    loss.sum().backward()
    for values in (found, wanted):
        assert values.grad is not None and values.grad.isfinite().all()
        assert not values.grad[3].any() and values.grad[TRACKS != 2].any(1).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_embeddings_that_know_nothing_guess(dtype: torch.dtype) -> None:
    """Constants, whose differences are rounding alone, and a still video: log M, gentle slopes."""
    constant = (torch.rand(1, 3) * 3).to(dtype).expand(8, -1)
    noise = torch.randn(8, 3, dtype=dtype) * 1e-7
    chance = TRACKS[:, None].eq(TRACKS).sum(1).log().to(dtype)
    for one in (constant, constant + noise):
        for found, wanted in ((one, constant), (embeddings(dtype)[0], one)):
            found, wanted = found.clone().requires_grad_(), wanted.clone().requires_grad_()
            loss = info_nce(found, wanted, TRACKS)
            torch.testing.assert_close(loss, chance, rtol=0, atol=0.02)
            loss.sum().backward()
            assert max(float(e.grad.abs().max()) for e in (found, wanted)) < 1e6  # type: ignore[union-attr]


def test_fp32_under_autocast() -> None:
    """What a track shares may be much larger than what tells its frames apart."""
    found, wanted = (values + 300 * TRACKS[:, None] for values in embeddings(torch.float32))
    exact = info_nce(found, wanted, TRACKS)
    with torch.autocast("cpu", torch.bfloat16):
        loss = info_nce(found, wanted, TRACKS)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, exact)
