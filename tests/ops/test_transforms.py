"""Every cell of the table of transforms in docs/operators.md."""

import pytest
import torch
from torch import func
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.autograd.functional import jacobian

import tcae_ops
from tcae_ops import library

OPERATORS = ["warp", "blend_warp", "warp_l1", "blend_warp_l1"]


@pytest.fixture(params=OPERATORS)
def operator(request):
    return request.param


def program(operator, backend, **options):
    """The operator as a function of tensors alone: image, flow or two of each, perhaps target."""
    run = getattr(tcae_ops, operator)
    options["backend"] = backend

    def call(image, *rest):
        if "blend" in operator:
            return run(image, rest[:2], rest[2:4], *rest[4:], **options)
        return run(image, *rest, **options)

    return call


def inputs_of(operator, dtype=torch.float64, batch=()):
    """Inputs away from kinks, so that finite differences see smooth functions."""
    generator = torch.Generator().manual_seed(0)

    def rand(*shape):
        return torch.rand(*batch, *shape, generator=generator, dtype=torch.float64).to(dtype)

    count = 2 if "blend" in operator else 1
    image, flows = rand(1, 2, 3, 4), [0.2 + 0.6 * rand(1, 2, 3, 4) for _ in range(count)]
    logits = [rand(1, 3, 4) for _ in range(2)] if count == 2 else []
    target = [rand(1, 2, 3, 4) + 2] if "l1" in operator else []
    return [image, *flows, *logits, *target]


def same(got, expected, dtype=torch.float64):
    assert any(t.any() for t in torch.utils._pytree.tree_leaves(expected))
    close = (
        {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-12}
    )
    torch.testing.assert_close(got, expected, check_dtype=False, **close)


def everything(t):
    return tuple(range(len(t)))


def jvp(f, inputs, tangents):
    return func.jvp(f, tuple(inputs), tuple(tangents))[1]


def dual(f, inputs, tangents):
    with forward_ad.dual_level():
        pairs = [forward_ad.make_dual(t, v) for t, v in zip(inputs, tangents, strict=True)]
        tangent = forward_ad.unpack_dual(f(*pairs)).tangent
        assert tangent is not None
        return tangent


def dual_of_the_backward_pass(f, inputs, tangents):
    inputs = [t.requires_grad_() for t in inputs]
    result = f(*inputs)
    with forward_ad.dual_level():
        upstream = forward_ad.make_dual(torch.ones_like(result), torch.ones_like(result) / 3)
        gradients = torch.autograd.grad(result, inputs, upstream)
        return [forward_ad.unpack_dual(g).tangent for g in gradients]


def batched_grads(f, inputs, tangents):
    inputs = [t.requires_grad_() for t in inputs]
    result = f(*inputs)
    upstream = torch.stack([torch.ones_like(result), torch.full_like(result, 0.5)])
    return torch.autograd.grad(result, inputs, upstream, is_grads_batched=True)


def scalar(f):
    return lambda *inputs: f(*inputs).square().sum()


TRANSFORMS = {
    "func.jvp": jvp,
    "make_dual": dual,
    "make_dual of the backward pass": dual_of_the_backward_pass,
    "func.jacfwd": lambda f, i, v: func.jacfwd(f, everything(i))(*i),
    "func.jacrev": lambda f, i, v: func.jacrev(f, everything(i))(*i),
    "func.grad": lambda f, i, v: func.grad(scalar(f), everything(i))(*i),
    "func.vjp": lambda f, i, v: (lambda out, pull: pull(torch.ones_like(out)))(*func.vjp(f, *i)),
    "func.hessian": lambda f, i, v: func.hessian(scalar(f), everything(i))(*i),
    "func.linearize": lambda f, i, v: func.linearize(f, *i)[1](*v),
    "is_grads_batched": batched_grads,
    "jacobian": lambda f, i, v: jacobian(f, tuple(i)),
    "jacobian(vectorize=True)": lambda f, i, v: jacobian(f, tuple(i), vectorize=True),
    "jacobian(vectorize=True, strategy='forward-mode')": lambda f, i, v: jacobian(
        f, tuple(i), vectorize=True, strategy="forward-mode"
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", TRANSFORMS)
def test_transform(cpp, operator, name, dtype):
    inputs = inputs_of(operator, dtype)
    tangents = [torch.rand_like(t) for t in inputs]
    got = TRANSFORMS[name](program(operator, "cpp"), inputs, tangents)
    wide = [t.detach().double() for t in inputs], [v.double() for v in tangents]
    same(got, TRANSFORMS[name](program(operator, "reference"), *wide), dtype)


def mapped(f, inputs, **options):
    return func.vmap(f, **options)(*inputs)


def one_by_one(operator, inputs, shared=()):
    """The truth of vmap: the definition on every member of the batch."""
    f = program(operator, "reference")
    members = range(inputs[-1].shape[0])
    return torch.stack(
        [f(*(t if i in shared else t[m] for i, t in enumerate(inputs))) for m in members]
    )


@pytest.mark.parametrize("backend", ["cpp", "reference"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vmap(cpp, operator, backend, dtype):
    f, inputs = program(operator, backend), inputs_of(operator, dtype, batch=(3,))
    wide = [t.double() for t in inputs]
    same(mapped(f, inputs), one_by_one(operator, wide), dtype)
    shared, dims = [inputs[0][0], *inputs[1:]], (None, *[0] * (len(inputs) - 1))
    expected = one_by_one(operator, [wide[0][0], *wide[1:]], shared=[0])
    same(mapped(f, shared, in_dims=dims), expected, dtype)
    last = [t.movedim(0, -1) for t in inputs]
    same(mapped(f, last, in_dims=-1, out_dims=0), one_by_one(operator, wide), dtype)


@pytest.mark.parametrize("backend", ["cpp", "reference"])
def test_gradient_of_vmap_and_vmap_of_gradient(cpp, operator, backend):
    f, inputs = program(operator, backend), inputs_of(operator, batch=(3,))
    own = [t.clone().requires_grad_() for t in inputs]
    expected = torch.autograd.grad(scalar(lambda *i: one_by_one(operator, i))(*own), own)
    same(torch.autograd.grad(scalar(func.vmap(f))(*own), own), expected)
    same(func.vmap(func.grad(scalar(f), everything(inputs)))(*inputs), expected)
    tangents = [torch.rand_like(t) for t in inputs]
    whole = jvp(lambda *i: one_by_one(operator, i), inputs, tangents)
    same(func.vmap(lambda i, v: jvp(f, i, v))(tuple(inputs), tuple(tangents)), whole)


@pytest.mark.parametrize("padding", ["border", "zeros", "reflection"])
def test_finite_differences_agree(cpp, operator, padding):
    f, inputs = program(operator, "cpp", padding=padding), inputs_of(operator)
    inputs = [t.requires_grad_() for t in inputs]
    options = {"check_forward_ad": True, "check_batched_grad": True}
    assert gradcheck(f, inputs, check_batched_forward_grad=True, **options)
    assert gradgradcheck(f, inputs, check_fwd_over_rev=True, check_batched_grad=True)


@pytest.mark.parametrize("transform", ["func.jvp", "func.grad", "func.vjp", "make_dual"])
def test_operators_by_name(cpp, transform):
    inputs = inputs_of("warp")
    tangents = [torch.rand_like(t) for t in inputs]
    got = TRANSFORMS[transform](torch.ops.tcae_ops.warp, inputs, tangents)
    same(got, TRANSFORMS[transform](program("warp", "reference"), inputs, tangents))


@pytest.mark.parametrize("transform", ["func.grad", "func.vmap"])
def test_compiled(cpp, transform):
    inputs, f = inputs_of("warp", batch=(3,)), program("warp", None)

    def run(f, *inputs):
        if transform == "func.vmap":
            return func.vmap(f)(*inputs)
        alone = [t[0] for t in inputs]
        return TRANSFORMS[transform](f, alone, [torch.ones_like(t) for t in alone])

    torch._dynamo.reset()
    got = torch.compile(lambda *i: run(f, *i), fullgraph=True, backend="aot_eager")(*inputs)
    same(got, run(program("warp", "reference"), *inputs))


def test_kernels_run_where_nothing_is_transformed(cpp, monkeypatch):
    monkeypatch.setattr(library.reference, "run", None)
    image, flow = inputs_of("warp")
    warped = tcae_ops.warp(image.requires_grad_(), flow)
    assert torch.autograd.grad(warped.sum(), image)[0].any()
