"""The errors to plant in the Triton kernels."""

from mutation import Check, Mutation

TRITON = [
    Mutation(
        "Triton: the target's gradient has the wrong sign",
        "triton/backward.py",
        "by_target_value = -sign * step",
        "by_target_value = sign * step",
        Check("triton"),
    ),
    Mutation(
        "Triton: NaN positions add to the image's gradient",
        "triton/image_gradient.py",
        "wanted = exist[i] & known & (value != 0)",
        "wanted = exist[i] & (value != 0)",
        Check("triton", case="nowhere"),
    ),
    Mutation(
        "Triton: sums of whole numbers are of gradients without their scale",
        "triton/image_gradient.py",
        "whole = tl.floor(value.to(tl.float64) * scale + 0.5).to(tl.int64)",
        "whole = tl.floor(value.to(tl.float64) + 0.5).to(tl.int64)",
        Check("triton", deterministic=True),
    ),
    Mutation(
        "Triton: the loss of an image sums the wrong blocks",
        "triton/forward.py",
        "tl.load(distances + tl.cast(n, tl.int64) * blocks + i, i < blocks, other=0)",
        "tl.load(distances + tl.cast(n, tl.int64) + i, i < blocks, other=0)",
        Check("triton"),
    ),
    Mutation(
        "Triton: beyond the last pixel there is no zero, but the last pixel again",
        "triton/coordinates.py",
        "after_last = size\n",
        "after_last = size - 1\n",
        Check("triton", case="zeros"),
    ),
    Mutation(
        "Triton: mirrored positions have the derivative of unmirrored ones",
        "triton/coordinates.py",
        "tl.where(back, -sign, sign)",
        "tl.where(back, sign, sign)",
        Check("triton", case="mirrored many times"),
    ),
    Mutation(
        "Triton: the gradient of a logit without the mean displacement",
        "triton/blend.py",
        "fields[k][1] - dx,",
        "fields[k][1],",
        Check("triton"),
    ),
    Mutation(
        "Triton: the derivative by x has the wrong weight",
        "triton/sample.py",
        "dx = (1 - fy) * (pixels[1] - pixels[0])",
        "dx = fy * (pixels[1] - pixels[0])",
        Check("triton"),
    ),
    Mutation(
        "Triton: slices are read as if their rows followed each other",
        "triton/tensors.py",
        "return y * elements(v.h) + x * elements(v.w)",
        "return (y * 31 + x) * elements(v.w)",
        Check("triton", case="warp", layout="sliced"),
    ),
    Mutation(
        "Triton: bytes are not divided by 255",
        "triton/tensors.py",
        "return tl.fma(tl.fma(-quotient, 255.0, stored), inverse, quotient)",
        "return stored",
        Check("triton", image="uint8"),
    ),
    Mutation(
        "Triton: normalised displacements are in half sizes of the result, not of the image",
        "triton/forward.py",
        "flows, logits, n, y, x, inside, height, width, normalized, PADDING, WORKING",
        "flows, logits, n, y, x, inside, h, w, normalized, PADDING, WORKING",
        Check("triton", case="larger"),
    ),
    Mutation(
        "Triton: there is a scale for one image, but not for each of its samples",
        "triton/image_gradient.py",
        "return torch.ldexp(torch.ones_like(bound), power).repeat_interleave(per_image)",
        "return torch.ldexp(torch.ones_like(bound), power)",
        Check("triton", case="one image", deterministic=True),
    ),
]
