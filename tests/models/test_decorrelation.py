"""What is taken out, against least squares by numpy, and that nothing of it is left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from tcae.models.decorrelation import Decorrelation

WIDTH, KNOWN, RIDGE = 4, 3, 0.01


def faces(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """An embedding that a known one tells much about, both off zero and of unequal sizes."""
    generator = torch.Generator().manual_seed(seed)
    mixed, told = torch.randn(2, KNOWN, KNOWN, generator=torch.Generator().manual_seed(99))
    known = torch.randn(count, KNOWN, generator=generator) @ mixed * torch.tensor([0.1, 1, 10]) + 5
    own = torch.randn(count, WIDTH, generator=generator)
    told = torch.cat([told, told[:, :1]], 1) / torch.tensor([0.1, 1, 10])[:, None]
    return own + known @ told - 3, known


def correlations(a: Tensor, b: Tensor) -> Tensor:
    return torch.from_numpy(np.corrcoef(a.detach().T, b.detach().T)[: a.shape[1], a.shape[1] :])


def trained(batches: int = 200) -> Decorrelation:
    module = Decorrelation(WIDTH, KNOWN)
    for seed in range(batches):
        module(*faces(64, seed))
    return module


def least_squares(embedding: Tensor, known: Tensor) -> np.ndarray:
    """The prediction by numpy, each standardised regressor charged RIDGE of its variance."""
    embedding, known = embedding.double().numpy(), known.double().numpy()
    count = len(known)
    standard = (known - known.mean(0)) / known.std(0)
    charged = np.concatenate([standard, np.sqrt(RIDGE * count) * np.eye(KNOWN)])
    wanted = np.concatenate([embedding - embedding.mean(0), np.zeros((KNOWN, WIDTH))])
    return standard @ np.linalg.lstsq(charged, wanted, rcond=None)[0]


def test_what_is_left_does_not_correlate_on_faces_not_seen() -> None:
    embedding, known = faces(20_000, seed=10_000)
    assert correlations(embedding, known).abs().max() > 0.6
    left = trained().eval()(embedding, known)
    assert correlations(left, known).abs().max() < 0.06
    # What the known embedding does not tell stays.
    assert left.var(0).min() > 0.5


def test_first_batch_is_ridge_regression_on_it() -> None:
    embedding, known = faces(50, seed=3)
    found = Decorrelation(WIDTH, KNOWN).double()(embedding.double(), known.double())
    np.testing.assert_allclose(
        embedding.numpy() - found.numpy(), least_squares(embedding, known), 1e-5
    )


def test_a_few_batches_are_regression_on_all_of_them() -> None:
    """Running moments about running means: nearly those of all rows, as long as all weigh alike."""
    batches = [faces(400, seed) for seed in range(20)]
    module = Decorrelation(WIDTH, KNOWN)
    for batch in batches:
        module(*batch)
    embedding, known = (torch.cat(parts) for parts in zip(*batches, strict=True))
    found = embedding - module.eval()(embedding, known)
    expected = torch.from_numpy(least_squares(embedding, known)).float()
    assert (found - found.mean(0) - expected).std() < 0.02 * expected.std()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_follow_by_the_share_of_a_batch(dtype: torch.dtype) -> None:
    """1 / 1, 1 / 2, ... down to 0.03, to the bit as with Python's numbers."""
    module, mean = Decorrelation(WIDTH, KNOWN).to(dtype), torch.zeros(WIDTH, dtype=dtype)
    for batch in range(1, 40):
        embedding, known = (values.to(dtype) for values in faces(16, batch))
        module(embedding, known)
        mean.lerp_(embedding.mean(0), max(0.03, 1 / batch))
        assert module.mean.equal(mean), batch


def test_no_value_is_looked_at() -> None:
    """Tensors without values would refuse; a GPU would have to be waited for in every step."""
    with FakeTensorMode():
        module = Decorrelation(WIDTH, KNOWN)
        assert module(torch.randn(8, WIDTH), torch.randn(8, KNOWN)).shape == (8, WIDTH)


def test_old_batches_are_forgotten() -> None:
    module = trained(100)
    for seed in range(200):
        embedding, known = faces(64, seed)
        module(-embedding, known)
    embedding, known = faces(5000, seed=10_000)
    assert correlations(module.eval()(-embedding, known), known).abs().max() < 0.08


def test_eval_mode_rests_and_a_new_one_takes_nothing_out() -> None:
    module = trained(5).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    embedding, known = faces(8, seed=77)
    assert module(embedding, known).equal(module(embedding, known))
    assert all(value.equal(before[name]) for name, value in module.state_dict().items())
    # A row is cleaned by itself, whatever else is in the batch.
    torch.testing.assert_close(module(embedding[:1], known[:1]), module(embedding, known)[:1])
    assert Decorrelation(WIDTH, KNOWN).eval()(embedding, known).equal(embedding)


def test_state_round_trip_goes_on_exactly() -> None:
    one, other = trained(40), Decorrelation(WIDTH, KNOWN)
    other.load_state_dict(one.state_dict())
    batch = faces(16, seed=500)
    assert one(*batch).equal(other(*batch))
    assert all(value.equal(one.state_dict()[name]) for name, value in other.state_dict().items())


def test_gradient_is_the_embeddings_alone() -> None:
    embedding, known = (values.requires_grad_() for values in faces(8, seed=0))
    slope = torch.randn(8, WIDTH)
    (Decorrelation(WIDTH, KNOWN)(embedding, known) * slope).sum().backward()
    assert embedding.grad is not None and embedding.grad.equal(slope)
    assert known.grad is None


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_fp32_under_autocast(half: torch.dtype) -> None:
    batches = [tuple(values.to(half) for values in faces(16, seed)) for seed in range(3)]
    one, other = Decorrelation(WIDTH, KNOWN), Decorrelation(WIDTH, KNOWN)
    for embedding, known in batches:
        expected = one(embedding.float(), known.float())
        with torch.autocast("cpu", torch.bfloat16):
            found = other(embedding, known)
        assert found.dtype == torch.float32 and found.equal(expected)


def test_a_known_channel_that_never_varies_is_harmless() -> None:
    embedding, known = faces(32, seed=0)
    constant = torch.cat([known, torch.full((32, 1), 7.0)], 1)
    with_it = Decorrelation(WIDTH, KNOWN + 1)(embedding, constant)
    torch.testing.assert_close(with_it, Decorrelation(WIDTH, KNOWN)(embedding, known))


def test_settled_moments_are_those_of_the_faces_given() -> None:
    """Regression on them alone, whatever was there before; in eval mode as in training."""
    embedding, known = (values.double() for values in faces(300, seed=3))
    for module in (trained(60).double(), trained(60).double().eval()):
        module.refit(embedding, known)
        found = embedding - module.eval()(embedding, known)
        np.testing.assert_allclose(found.numpy(), least_squares(embedding, known), 1e-9, 1e-12)


def test_the_prediction_is_what_eval_mode_subtracts() -> None:
    module = trained(30).eval()
    embedding, known = faces(40, seed=77)
    layer = module.prediction()
    assert type(layer) is torch.nn.Linear and layer.weight.dtype == torch.float32
    taken = embedding - module(embedding, known)
    torch.testing.assert_close(layer(known), taken, rtol=0, atol=1e-5 * float(taken.abs().max()))


def test_the_prediction_is_least_squares_on_the_faces_given() -> None:
    embedding, known = (values.double() for values in faces(300, seed=3))
    module = Decorrelation(WIDTH, KNOWN).double()
    module.refit(embedding, known)
    wanted = least_squares(embedding, known)
    np.testing.assert_allclose(module.prediction()(known).detach(), wanted, 1e-9, 1e-12)


def test_moments_in_single_precision_are_solved_in_double() -> None:
    """Regressors that are nearly one: in fp32 the solution would be off by much more."""
    known = torch.randn(400, 1) + 0.001 * torch.randn(400, KNOWN)
    embedding = torch.randn(400, WIDTH)
    module = Decorrelation(WIDTH, KNOWN)
    module.refit(embedding, known)
    layer = module.prediction()
    exact = Decorrelation(WIDTH, KNOWN).double()
    exact.load_state_dict(module.state_dict())
    torch.testing.assert_close(layer.weight, exact.prediction().weight.float(), rtol=1e-6, atol=0)


def test_a_prediction_by_a_channel_that_never_varies_is_finite() -> None:
    embedding, known = faces(32, seed=0)
    module = Decorrelation(WIDTH, KNOWN + 1)
    module.refit(embedding, torch.cat([known, torch.full((32, 1), 7.0)], 1))
    rest = Decorrelation(WIDTH, KNOWN)
    rest.refit(embedding, known)
    torch.testing.assert_close(module.prediction().weight[:, :KNOWN], rest.prediction().weight)
    assert bool(module.prediction().weight.isfinite().all())
