// Which of the kernels of a pass serves a call.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "groups.h"

namespace tcae_ops {

// Whether the offset of every number is one of 32 bits. True for absent tensors.
inline bool in_32_bits(const View& v) {
  const int64_t last =
      (v.n - 1) * v.stride_n + (v.c - 1) * v.stride_c + (v.h - 1) * v.stride_h + (v.w - 1) * v.stride_w;
  return !v.exists() || last <= INT32_MAX;
}

// The tensors that a pass accesses pixel by pixel. Absent ones do not count.
struct Accessed {
  std::initializer_list<View> images;         // besides the image that is sampled
  std::initializer_list<const View*> fields;  // as many of each as there are flows, or null

  // Whether each quad of them is one access.
  bool in_quads(const Sampling& s) const {
    bool all = s.w % kQuad == 0;
    for (const View* of : fields) all = all && in_groups<kQuad>(of, s.count, s.flows[0].dtype);
    for (const View& it : images) all = all && in_groups<kQuad>(it);
    return all;
  }

  // Whether a type Common says all of the call and of these tensors. The image's gradient has no gaps, so the
  // image's numbers tell its offsets.
  bool are_common(const Sampling& s) const {
    const Dtype image = s.image.dtype, field = s.flows[0].dtype;
    const auto is = [](const View& it, Dtype dtype) { return !it.exists() || (it.dtype == dtype && in_32_bits(it)); };
    bool all = s.padding == Padding::border && s.image.c == 3 && s.image.h > 1 && s.image.w > 1 &&
               s.count == (s.logits == nullptr ? 1 : 2) && image != Dtype::u8 &&
               (image == Dtype::f32 || image == field) && in_32_bits(s.image) &&
               s.image.n * s.image.c * s.image.h * s.image.w <= INT32_MAX;
    for (const View& it : images) all = all && is(it, image);
    for (const View* of : fields) {
      for (int64_t k = 0; of != nullptr && k < s.count; ++k) all = all && is(of[k], field);
    }
    return all;
  }
};

// Calls f with what is known of a call: a value of type Common or, if that says too much, Anything. Images of
// half types are common with fields of their own type, those of fp32 with any.
template <bool compared, class F>
auto with_facts(const Sampling& s, bool common, bool quads, F&& f) {
  if (s.wide) return f(Anything<double, 1>());
  if (common) {
    return with_float<float>(s.image.dtype, [&](auto image) {
      const auto with_field = [&](auto field) {
        if (s.logits == nullptr) return f(Common<decltype(image), decltype(field), 1, compared>());
        return f(Common<decltype(image), decltype(field), 2, compared>());
      };
      if constexpr (std::is_same_v<decltype(image), float>) return with_float<float>(s.flows[0].dtype, with_field);
      return with_field(image);
    });
  }
  if (quads) return f(Anything<float, kQuad>());
  return f(Anything<float, 2>());
}

}  // namespace tcae_ops
