"""The mutations: errors to plant in the kernels, each with the check that must catch it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Check:
    """One case of tcae_ops.selftest.cases against the definition, values and all gradients.

    For kernels in CUDA it may be one test of the suite instead.
    """

    kernels: str = "cuda"  # "cuda" on the CPU; "cpu" or "avx2" compiled alone; "triton" interpreted
    flavour: str = "plain"  # of tests/cuda/host/build.py
    case: str = "twin"
    image: str = "float32"
    layout: str = "contiguous"
    deterministic: bool = False  # also requires the same bits in every order
    test: str = ""  # pytest's name of a test, in place of a case


@dataclass(frozen=True)
class Mutation:
    """A text that occurs once in a file, its replacement, and what that breaks."""

    breaks: str
    path: str  # below csrc/, or below tcae_ops/ for kernels in Triton
    text: str
    replacement: str
    check: Check = field(default_factory=Check)


MUTATIONS = [
    Mutation(
        "no barrier between the warps' sums and their total",
        "cuda/reduce.h",
        "  __syncthreads();\n",
        "",
        Check(flavour="races"),
    ),
    Mutation(
        "no barrier between the warps' sums and their total, without ThreadSanitizer",
        "cuda/reduce.h",
        "  __syncthreads();\n",
        "",
    ),
    Mutation(
        "pixels outside the image are read",
        "cuda/sample.h",
        "      if (!is_inside(source, row, column)) return T(0);\n",
        "",
        Check(flavour="memory", case="far outside, zeros"),
    ),
    Mutation(
        "the target's gradient has the wrong sign",
        "cuda/backward.cu",
        "target[at] = -sign * step;",
        "target[at] = sign * step;",
    ),
    Mutation(
        "sums in the image's gradient are not atomic",
        "cuda/image_gradient.h",
        "atomicAdd(static_cast<T*>(to.sums) + at, value);",
        "static_cast<T*>(to.sums)[at] += value;",
        Check(flavour="races"),
    ),
    Mutation(
        "NaN positions add to the image's gradient",
        "cuda/image_gradient.h",
        "  if (cell.column.fraction != cell.column.fraction) return;\n",
        "",
        Check(case="nowhere"),
    ),
    Mutation(
        "the deterministic mode adds floating-point numbers",
        "cuda/image_gradient.h",
        "if (to.wholes != nullptr && value - value == 0) {",
        "if (false) {",
        Check(case="rough", deterministic=True),
    ),
    Mutation(
        "negative numbers are converted to unsigned in the sums of whole numbers",
        "cuda/image_gradient.h",
        "Whole(llrint(double(value) * scale))",
        "Whole(double(value) * scale)",
        Check(flavour="memory", deterministic=True),
    ),
    Mutation(
        "the sums of the image's gradient do not begin at zero",
        "cuda/backward.cu",
        "cudaError_t error = cudaMemsetAsync(to.sums, 0, size_t(at.numbers) * sizeof(T), stream);",
        "cudaError_t error = cudaSuccess;",
    ),
    Mutation(
        "pixels beyond the end of a row add to the image's gradient",
        "cuda/image_gradient.h",
        "if (i < count) scatter(",
        "scatter(",
    ),
    Mutation(
        "pixels beyond the end of a row count in the loss",
        "cuda/forward.cu",
        "distance += i < s.count ? fabs(samples[i] - target[i]) : T(0);",
        "distance += fabs(samples[i] - target[i]);",
    ),
    Mutation(
        "all threads write the sum that only the first one has",
        "cuda/forward.cu",
        "if (threadIdx.x == 0) a.distances[blockIdx.x] = sum;",
        "a.distances[blockIdx.x] = sum;",
        Check(flavour="races"),
    ),
    Mutation(
        "threads without pixels do not take part in the sum",
        "cuda/forward.cu",
        "  const T distance = s.count > 0 ?",
        "  if (s.count <= 0) return;\n  const T distance = s.count > 0 ?",
    ),
    Mutation(
        "the loss of an image sums the wrong blocks",
        "cuda/forward.cu",
        "distances + int64_t(blockIdx.x) * blocks",
        "distances + int64_t(blockIdx.x)",
    ),
    Mutation(
        "a kernel is launched on the default stream",
        "cuda/forward.cu",
        "launch(loss_kernel<T>, images, kThreads, 0, stream,",
        "launch(loss_kernel<T>, images, kThreads, 0, nullptr,",
    ),
    Mutation(
        "a launch waits for its kernel",
        "cuda/launch.h",
        "  return cudaGetLastError();\n",
        "  cudaStreamSynchronize(stream);\n  return cudaGetLastError();\n",
        Check(test="tests/cuda/test_binaries.py::test_nothing_waits_copies_or_allocates[forward]"),
    ),
    Mutation(
        "less scratch memory than the kernels use",
        "cuda/forward.cu",
        "s.n * Grid::of<pixels>(s).blocks * int64_t(sizeof(double))",
        "s.n * int64_t(sizeof(double))",
        Check(flavour="memory"),
    ),
    Mutation(
        "rows that are not aligned are read in one access",
        "cuda/groups.h",
        "whole(v.h, v.stride_h) &&\n         uintptr_t(v.data) % uintptr_t(size * P) == 0;",
        "true;",
        Check(flavour="memory", case="one blended", layout="sliced"),
    ),
    Mutation(
        "rows are read in quads that end within one",
        "cuda/groups.h",
        "bool all = !s.wide && s.w % kQuad == 0;",
        "bool all = !s.wide;",
        Check(
            test="tests/cuda/test_kernels_on_host.py::test_rows_that_end_within_a_quad[types1-7]"
        ),
    ),
    Mutation(
        "all of a quad is sampled at its first pair",
        "cuda/forward.cu",
        "some(points.position, first)",
        "some(points.position, 0)",
        Check(case="bf16 flows", image="bfloat16"),
    ),
    Mutation(
        "both pairs of a quad add the first one's gradients to the image's",
        "cuda/backward.cu",
        "some(by_samples, first)",
        "some(by_samples, 0)",
        Check(case="bf16 flows", image="bfloat16"),
    ),
    Mutation(
        "numbers beyond the end of a row are read",
        "cuda/tensors.h",
        "to[i] = i < s.count ? Element<E>::template load<T>(from[i * v.stride_w]) : T(0);",
        "to[i] = Element<E>::template load<T>(from[i * v.stride_w]);",
        Check(flavour="memory"),
    ),
    Mutation(
        "numbers beyond the end of a row are written",
        "cuda/tensors.h",
        "if (i < s.count) to[i * v.stride_w] =",
        "to[i * v.stride_w] =",
        Check(flavour="memory"),
    ),
    Mutation(
        "planes begin at offsets of 32 bits",
        "cuda/tensors.h",
        "{ return n * stride_n + c * stride_c; }",
        "{ return int32_t(n * stride_n + c * stride_c); }",
        Check(
            test="tests/ops/test_memory.py::test_planes_further_apart_than_32_bits[cuda_on_host-0]"
        ),
    ),
    Mutation(
        "the gradient of a logit without the mean displacement",
        "cuda/blend_cache.h",
        "      it.x[i] -= blend.mean.x[i];\n",
        "",
    ),
    Mutation(
        "sums of the softmax are not scaled down when a larger logit comes",
        "include/tcae_ops/blend.h",
        "const T scale = higher ? e : T(1)",
        "const T scale = T(1)",
    ),
    Mutation(
        "two threads cache their fields in one place",
        "cuda/blend_cache.h",
        "shared_memory()) + threadIdx.x)",
        "shared_memory()) + threadIdx.x / 2)",
        Check(flavour="races"),
    ),
    Mutation(
        "two numbers of a field are cached in one place",
        "cuda/blend_cache.h",
        "row(3 * k + 2) = it.y;",
        "row(3 * k + 1) = it.y;",
    ),
    Mutation(
        "less shared memory than the cache needs",
        "cuda/blend_cache.h",
        "? 3 * f.count : 4;",
        "? 2 * f.count : 4;",
        Check(flavour="memory"),
    ),
    Mutation(
        "x and y are mixed up in the mean of more flows than are cached",
        "cuda/blend_cache.h",
        "{{row(0), row(1)},",
        "{{row(1), row(0)},",
        Check(case="many blended"),
    ),
    Mutation(
        "x and y are mixed up in the gradient of blended flows",
        "cuda/blend_cache.h",
        "it.y[i] = weight * by.y[i];",
        "it.y[i] = weight * by.x[i];",
    ),
    Mutation(
        "the displacement's unit is taken from the other axis",
        "cuda/sample.h",
        "unit_y = unit<T>(fields, source.h);\n  SamplePoints",
        "unit_y = unit<T>(fields, source.w);\n  SamplePoints",
    ),
    Mutation(
        "a derivative outside the border is not zero",
        "include/tcae_ops/padding.h",
        "clamped == p || p != p ? T(1) : T(0)",
        "T(1)",
        Check(case="far outside"),
    ),
    Mutation(
        "mirrored positions have the derivative of unmirrored ones",
        "include/tcae_ops/padding.h",
        "return {2 * last - turn, -sign};",
        "return {2 * last - turn, sign};",
        Check(case="mirrored many times"),
    ),
    Mutation(
        "negative positions are rounded towards zero",
        "include/tcae_ops/coordinates.h",
        "T(truncated) > folded ? truncated - 1 : truncated",
        "truncated",
        Check(case="zeros"),
    ),
    Mutation(
        "beyond the last pixel there is no zero, but the last pixel again",
        "include/tcae_ops/padding.h",
        "TCAE_HD static int32_t after_last(int32_t size) { return size; }",
        "TCAE_HD static int32_t after_last(int32_t size) { return size - 1; }",
        Check(case="zeros"),
    ),
    Mutation(
        "the derivative by x has the wrong weight",
        "include/tcae_ops/bilinear.h",
        "(1 - fy) * (pixel.tr - pixel.tl)",
        "fy * (pixel.tr - pixel.tl)",
    ),
    Mutation(
        "fp16 results lose their sign",
        "include/tcae_ops/dtypes.h",
        "uint16_t(sign | (magnitude",
        "uint16_t((magnitude",
        Check(image="float16"),
    ),
    Mutation(
        "the exponential's polynomial lacks a term",
        "include/tcae_ops/blend.h",
        "  p = p * r + 0.041668389f;\n",
        "",
    ),
    Mutation(
        "C++: the target's gradient has the wrong sign",
        "cpu/l1.h",
        "by_target[i] = -sign * step;",
        "by_target[i] = sign * step;",
        Check("cpu"),
    ),
    Mutation(
        "C++: pixels outside the image are read",
        "cpu/sample.h",
        "const bool inside = !zeros ||",
        "const bool inside = true ||",
        Check("cpu", "memory", "far outside, zeros"),
    ),
    Mutation(
        "C++: NaN positions add to the image's gradient",
        "cpu/scatter.h",
        "             cells.fx[i] == cells.fx[i];",
        "             true;",
        Check("cpu", case="nowhere"),
    ),
    Mutation(
        "C++: the gradient of a displacement is not in its unit",
        "cpu/field.h",
        "by.x[i] *= scale_x_;",
        "by.x[i] *= 1;",
        Check("cpu"),
    ),
    Mutation(
        "C++: only the last sample of a pixel counts in the image's gradient",
        "cpu/scatter.h",
        "+= weight * g[c][i];",
        "= weight * g[c][i];",
        Check("cpu"),
    ),
    Mutation(
        "AVX2: left pixels come from the vector of the right ones",
        "cpu/window_avx2.h",
        "(far, index_l), far_l);",
        "(far, index_l), far_r);",
        Check("avx2", case="still"),
    ),
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
]
