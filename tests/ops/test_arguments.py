"""Wrong arguments are named, and backends are chosen as asked."""

import pytest
import torch

import tcae_ops
from tcae_ops import backends, library

IMAGE = torch.rand(2, 3, 4, 5)
FLOW = torch.rand(2, 2, 4, 5)
LOGIT = torch.rand(2, 4, 5)


def warp(image=IMAGE, flow=FLOW, **options):
    return lambda: tcae_ops.warp(image, flow, **options)


def blend(flows=(FLOW, FLOW), logits=(LOGIT, LOGIT)):
    return lambda: tcae_ops.blend_warp(IMAGE, flows, logits)


def l1(target):
    return lambda: tcae_ops.warp_l1(IMAGE, FLOW, target)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (warp(image=[1.0]), TypeError, r"image is a list, but must be a torch.Tensor"),
        (warp(image=IMAGE.int()), TypeError, r"image is of type int32, but must be one of uint8"),
        (warp(image=IMAGE[0]), ValueError, r"image has shape \(3, 4, 5\), but must be \(N, C, H"),
        (warp(image=IMAGE[:, :0]), ValueError, r"image has shape \(2, 0, 4, 5\)"),
        (warp(flow=None), TypeError, r"flow is a NoneType"),
        (warp(flow=FLOW.to(torch.uint8)), TypeError, r"flow is of type uint8.*one of float16"),
        (warp(flow=FLOW[:, :1]), ValueError, r"flow has shape \(2, 1, 4, 5\).*\(2, 2, 4, 5\)"),
        (warp(flow=FLOW.to("meta")), ValueError, r"flow is on meta, but must be .* on cpu"),
        (warp(units="metres"), ValueError, r"units is 'metres', .* pixels, normalized"),
        (warp(padding="wrap"), ValueError, r"padding is 'wrap', .* border, zeros, reflection"),
        (warp(backend="fpga"), ValueError, r"backend is 'fpga', but must be one of cpp, cuda"),
        (warp(backend="cuda"), ValueError, r"backend 'cuda' cannot run: it is for cuda tensors"),
        (blend(flows=FLOW), TypeError, r"flows is a Tensor, but must be a list or tuple"),
        (blend(logits=LOGIT), TypeError, r"logits is a Tensor, but must be a list or tuple"),
        (blend(flows=[], logits=[]), ValueError, r"flows is empty"),
        (blend(logits=[LOGIT]), ValueError, r"logits holds 1 tensors, .* each of 2 flows"),
        (blend(flows=[FLOW, 1]), TypeError, r"flows\[1\] is a int"),
        (blend(flows=[FLOW, FLOW[:1]]), ValueError, r"flows\[1\] has shape \(1, 2, 4, 5\)"),
        (blend(logits=[FLOW, LOGIT]), ValueError, r"logits\[0\] has shape .* or \(2, 1, 4, 5\)"),
        (blend(logits=[LOGIT, LOGIT.bool()]), TypeError, r"logits\[1\] is of type bool"),
        (l1(IMAGE[:, :1]), ValueError, r"target has shape \(2, 1, 4, 5\).*the image's shape"),
        (l1(IMAGE.to(torch.int8)), TypeError, r"target is of type int8"),
        (l1(3), TypeError, r"target is a int"),
    ],
)
def test_wrong_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_context_manager_chooses_the_backend(monkeypatch):
    monkeypatch.setattr(backends, "_override", None)
    calls = []

    def run(*arguments):
        calls.append(arguments)
        return [IMAGE]

    monkeypatch.setitem(backends.BACKENDS, "reference", run)
    with tcae_ops.backend("reference"):
        assert tcae_ops.warp(IMAGE, FLOW) is IMAGE
    assert len(calls) == 1
    assert backends._override is None
    with (
        pytest.raises(ValueError, match="backend is 'fast', but must be one of"),
        tcae_ops.backend("fast"),
    ):
        pass


def test_environment_variable_chooses_the_backend(monkeypatch):
    monkeypatch.setattr(backends, "_override", "fast")  # what the variable held at import
    with pytest.raises(ValueError, match="TCAE_OPS_BACKEND is 'fast', but must be one of"):
        tcae_ops.warp(IMAGE, FLOW)


def test_without_a_library_the_definition_runs(monkeypatch):
    monkeypatch.setattr(backends, "_override", None)
    monkeypatch.setattr(backends, "_fastest", {})
    monkeypatch.setattr(library.CPU, "problem", "no library was built")
    expected = tcae_ops.warp(IMAGE, FLOW, backend="reference")
    assert torch.equal(tcae_ops.warp(IMAGE, FLOW), expected)
    with pytest.raises(ValueError, match="backend 'cpp' cannot run: no library was built"):
        tcae_ops.warp(IMAGE, FLOW, backend="cpp")
