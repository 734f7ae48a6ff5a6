// Strided views of tensors, without torch.
#pragma once

#include "platform.h"

namespace tcae_ops {

enum class Dtype : int32_t { u8, f16, bf16, f32, f64 };

// A batch of images (n, c, h, w) in memory. Strides count elements. An absent tensor has no data.
struct View {
  void* data = nullptr;
  Dtype dtype = Dtype::f32;
  int64_t n = 0, c = 0, h = 0, w = 0;
  int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;

  TCAE_HD bool exists() const { return data != nullptr; }

  // Where plane (in, ic) begins. 32 bits only suffice inside a plane.
  TCAE_HD int64_t plane(int64_t in, int64_t ic) const { return in * stride_n + ic * stride_c; }
  TCAE_HD int64_t row(int64_t in, int64_t ic, int64_t y) const { return plane(in, ic) + y * stride_h; }
};

}  // namespace tcae_ops
