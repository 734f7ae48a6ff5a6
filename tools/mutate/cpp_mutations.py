"""The errors to plant in the C++ kernels."""

from mutation import Check, Mutation

CPP = [
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
        "C++: channels beyond the last eight of a pixel have no slope",
        "cpu/channels.h",
        "  for (int64_t j = 0; c + j < channels; ++j) f(c + j, j);\n",
        "",
        Check("cpu", case="deep", layout="channels_last"),
    ),
    Mutation(
        "C++: pixels outside the image are read, all channels at once",
        "cpu/channels.h",
        "return !zeros_outside_ || inside ?",
        "return true ?",
        Check("cpu", "memory", "deep, zeros", layout="channels_last"),
    ),
    Mutation(
        "C++: only the last sample of a pixel of many channels counts in the image's gradient",
        "cpu/scatter.h",
        "to[c] += weight * by[c];",
        "to[c] = weight * by[c];",
        Check("cpu", case="deep", layout="channels_last"),
    ),
    Mutation(
        "AVX2: left pixels come from the vector of the right ones",
        "cpu/window_avx2.h",
        "(far, index_l), far_l);",
        "(far, index_l), far_r);",
        Check("avx2", case="still"),
    ),
    Mutation(
        "C++: the gradient of one image is that by the first sample alone",
        "include/tcae_ops/passes.h",
        "return image.n == n ? 1 : n;",
        "return 1;",
        Check("cpu", case="one image"),
    ),
    Mutation(
        "C++: the mean of a loss counts the numbers of the image, not of the result",
        "include/tcae_ops/passes.h",
        "return image.c * h * w;",
        "return image.c * image.h * image.w;",
        Check("cpu", case="smaller"),
    ),
]
