"""The bytes that must move, against counts by hand: 4 bytes x elements, input by input."""

import pytest
import torch

from tcae_ops.traffic import backward_bytes, forward_bytes

N, H, W = 2, 5, 7  # an image of 3 channels has 210 elements, a flow 140, a logit 70


def field(channels, dtype=torch.float32, grad=False):
    return torch.empty(N, channels, H, W, device="meta", dtype=dtype, requires_grad=grad)


def test_a_warp_reads_image_and_flow_and_writes_an_image():
    assert forward_bytes(field(3), [field(2)]) == 4 * (210 + 140 + 210)


def test_a_blend_reads_every_flow_and_logit():
    flows, logits = [field(2)] * 3, [field(1)] * 3
    assert forward_bytes(field(3), flows, logits) == 4 * (210 + 3 * 140 + 3 * 70 + 210)


def test_a_loss_is_written_instead_of_an_image():
    flows, logits = [field(2)] * 2, [field(1)] * 2
    assert forward_bytes(field(3), [field(2)], (), field(3)) == 4 * (210 + 140 + 210 + 2)
    expected = 4 * (210 + 2 * 140 + 2 * 70 + 210 + 2)
    assert forward_bytes(field(3), flows, logits, field(3)) == expected
    both = forward_bytes(field(3), flows, logits, field(3), return_warped=True)
    assert both == expected + 4 * 210


def test_every_type_counts_with_its_own_size():
    half = torch.float16
    assert forward_bytes(field(3, half), [field(2)]) == 2 * 210 + 4 * 140 + 2 * 210
    # Bytes come out as fp32, the loss of fp16 inputs is fp32.
    assert forward_bytes(field(3, torch.uint8), [field(2)]) == 210 + 4 * 140 + 4 * 210
    assert forward_bytes(field(3, half), [field(2, half)], (), field(3, torch.uint8)) == (
        2 * 210 + 2 * 140 + 210 + 4 * 2
    )
    assert forward_bytes(field(3), [field(2, torch.float64)], (), field(3)) == (
        4 * 210 + 8 * 140 + 4 * 210 + 8 * 2
    )


def test_what_is_repeated_is_read_once_but_has_a_gradient_everywhere():
    one = torch.empty(1, 2, H, W, device="meta").expand(N, 2, H, W)
    assert forward_bytes(field(3), [one]) == 4 * (210 + 70 + 210)
    one = one.detach().requires_grad_()
    assert backward_bytes(field(3), [one]) == 4 * (210 + 70 + 210 + 140)


def test_an_empty_batch_moves_nothing():
    image, flow = torch.empty(0, 3, 4, 4), torch.empty(0, 2, 4, 4, requires_grad=True)
    assert forward_bytes(image, [flow]) == 0
    assert backward_bytes(image, [flow]) == 0


def test_no_gradient_no_backward_pass():
    assert backward_bytes(field(3), [field(2)], (), field(3)) == 0


@pytest.mark.parametrize(
    ("needs", "elements"),
    [
        # upstream (an image), flow, image if read, gradients
        ({"flow"}, 210 + 140 + 210 + 140),
        ({"image"}, 210 + 140 + 210),
        ({"image", "flow"}, 210 + 140 + 210 + 210 + 140),
    ],
)
def test_a_warps_backward_pass(needs, elements):
    image, flow = field(3, grad="image" in needs), field(2, grad="flow" in needs)
    assert backward_bytes(image, [flow]) == 4 * elements


@pytest.mark.parametrize(
    ("needs", "gradients"),
    [
        ({"flow", "logit"}, 2 * 140 + 2 * 70),
        ({"image"}, 210),
        ({"target"}, 210),
        ({"image", "flow", "logit", "target"}, 210 + 2 * 140 + 2 * 70 + 210),
    ],
)
def test_a_losss_backward_pass_reads_all_inputs(needs, gradients):
    flows = [field(2, grad="flow" in needs) for _ in range(2)]
    logits = [field(1, grad="logit" in needs) for _ in range(2)]
    image, target = field(3, grad="image" in needs), field(3, grad="target" in needs)
    inputs = 210 + 2 * 140 + 2 * 70 + 210
    assert backward_bytes(image, flows, logits, target) == 4 * (2 + inputs + gradients)
    both = backward_bytes(image, flows, logits, target, return_warped=True)
    assert both == 4 * (2 + 210 + inputs + gradients)
