// The arguments of the kernels. All four operators are one pass: an image is sampled at positions that
// come from one displacement field or a blend of several. The samples are stored, compared with a
// target, or both. Tensors that do not take part are absent views.
#pragma once

#include "coordinates.h"
#include "views.h"

namespace tcae_ops {

struct Sampling {
  int64_t n, h, w;      // of the result: those of the flows
  View image;           // (n, c, height, width), or one for the whole batch: n = 1 and stride_n = 0
  const View* flows;    // `count` of (n, 2, h, w)
  const View* logits;   // `count` of (n, 1, h, w), or null: one flow, not blended
  int64_t count;
  View target;          // (n, c, h, w), or absent
  Padding padding;
  bool normalized;      // displacements are in half image sizes, not in pixels
  bool wide;            // the working type is fp64, not fp32

  // How many samples of the batch are sampled from one image.
  int64_t per_image() const { return image.n == n ? 1 : n; }

  // How many numbers a loss is the mean of.
  int64_t numbers() const { return image.c * h * w; }
};

struct Outputs {
  View warped;  // (n, c, h, w), or absent
  View loss;    // (n, 1, 1, 1) in the working type, or absent
};

struct Gradients {
  View warped;         // inputs: by the outputs; absent if nothing depends on them
  View loss;
  View image;          // results: by the inputs, each of its input's shape; absent if not needed
  const View* flows;   // `count` of each, or absent views
  const View* logits;
  View target;
};

}  // namespace tcae_ops
