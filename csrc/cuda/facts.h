// What a kernel knows of its calls when it is compiled. Each kernel has one such type, K. What it does not
// know it looks up when it runs, in the same code: the functions here return what they are given, or the fact.
#pragma once

#include "kernels.h"
#include "tcae_ops/dtypes.h"

namespace tcae_ops {

// Kernels for tensors whose groups are each one access take four pixels in fp32, and sample two at a time. Then
// an access is 16 bytes of fp32, 8 of half types, 4 of bytes.
constexpr int kQuad = 4;

// Calls f with a value of the float type of a dtype. Where the working type is fp32, nothing is stored as fp64.
template <class T, class F>
TCAE_HD auto with_float(Dtype dtype, F&& f) {
  if constexpr (sizeof(T) == 8) {
    if (dtype == Dtype::f64) return f(double());
  }
  switch (dtype) {
    case Dtype::f16: return f(Half());
    case Dtype::bf16: return f(BFloat16());
    default: return f(float());
  }
}

// The working type and the size of a group, nothing else. A group is P pixels of a row. If its tensors may have
// any layout, it is 8 bytes of the working type: registers have room for no more together with what sampling
// needs.
template <class T, int P>
struct Anything {
  using Number = T;
  using Offset = int64_t;  // of a number in its tensor; inside a plane of an image 32 bits suffice
  static constexpr bool common = false;
  static constexpr int pixels = P;
  static constexpr int at_once = 8 / int(sizeof(T));  // pixels that are sampled at a time
  static constexpr bool whole = P == kQuad;           // groups are always one access
  static constexpr int channels_at_once = 1, fields_at_once = 1;
  static constexpr int most_flows = int(kMostFlows);
  static constexpr int blocks = 4;  // per multiprocessor, at least: half of the threads that the largest can hold

  TCAE_HD static int32_t channels(int32_t count) { return count; }
  TCAE_HD static int32_t fields(int32_t count) { return count; }
  TCAE_HD static bool is_blended(bool is) { return is; }
  TCAE_HD static bool is_compared(bool is) { return is; }  // with a target
  TCAE_HD static bool is_stored(bool is) { return is; }    // whether there is a warped image
  TCAE_HD static bool is_wanted(bool is) { return is; }    // the gradient of a field
  TCAE_HD static bool is_bytes(Dtype image) { return image == Dtype::u8; }

  // Call f with a value of the type of fields; of results; of images, which may also be bytes.
  template <class F>
  TCAE_HD static auto with_field(Dtype dtype, F&& f) { return with_float<T>(dtype, static_cast<F&&>(f)); }
  template <class F>
  TCAE_HD static auto with_result(Dtype dtype, F&& f) { return with_float<T>(dtype, static_cast<F&&>(f)); }
  template <class F>
  TCAE_HD static auto with_image(Dtype dtype, F&& f) {
    return dtype == Dtype::u8 ? f(uint8_t()) : with_float<T>(dtype, static_cast<F&&>(f));
  }
  template <class F>
  TCAE_HD static auto with_rule(Padding padding, F&& f) { return with_padding(padding, static_cast<F&&>(f)); }
};

// What most calls are (Accessed::are_common): padding "border", images of type E with three channels, fields of
// type F, one flow that is not blended (count = 1) or a blend of two, and the samples are compared with a
// target or not. One pixel of a thread is one access in any layout, and neighbouring threads have neighbours.
template <class E, class F, int count, bool compared>
struct Common {
  using Number = float;
  using Offset = int32_t;
  static constexpr bool common = true;
  static constexpr int pixels = 1, at_once = 1;
  static constexpr bool whole = true;
  static constexpr int channels_at_once = 3, fields_at_once = count;
  static constexpr int most_flows = count;
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800  // a multiprocessor holds 1024 threads
  static constexpr int blocks = 4;
#else
  static constexpr int blocks = 5;  // more would take local memory
#endif

  TCAE_HD static int32_t channels(int32_t) { return 3; }
  TCAE_HD static int32_t fields(int32_t) { return count; }
  TCAE_HD static bool is_blended(bool) { return count > 1; }
  TCAE_HD static bool is_compared(bool) { return compared; }
  TCAE_HD static bool is_stored(bool is) { return !compared || is; }
  TCAE_HD static bool is_wanted(bool) { return true; }
  TCAE_HD static bool is_bytes(Dtype) { return false; }

  template <class Body>
  TCAE_HD static auto with_field(Dtype, Body&& body) { return body(F()); }
  template <class Body>
  TCAE_HD static auto with_result(Dtype, Body&& body) { return body(E()); }
  template <class Body>
  TCAE_HD static auto with_image(Dtype, Body&& body) { return body(E()); }
  template <class Body>
  TCAE_HD static auto with_rule(Padding, Body&& body) { return body(PaddingRule<Padding::border>()); }
};

}  // namespace tcae_ops
