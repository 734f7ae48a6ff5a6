// Groups of neighbouring pixels: each thread handles one. How large they are, and where.
#pragma once

#include <initializer_list>
#include <type_traits>

#include "launch.h"
#include "tcae_ops/dtypes.h"
#include "tcae_ops/passes.h"

namespace tcae_ops {

constexpr int kThreads = 256;  // per block
constexpr int kBlocks = 4;     // per multiprocessor, at least: half of the threads that the largest can hold

// A group is P pixels of a row. Kernels for tensors of any layout take 8 bytes of the working type: registers
// have room for no more together with what sampling needs.
template <class T>
constexpr int kPixels = 8 / int(sizeof(T));

// Kernels for tensors whose groups are each one access take four pixels in fp32, and sample two at a time. Then
// an access is 16 bytes of fp32, 8 of half types, 4 of bytes.
constexpr int kQuad = 4;

template <class T, int P, class Value = T>
struct Group {
  Value at[P];

  TCAE_HD Value& operator[](int i) { return at[i]; }
  TCAE_HD const Value& operator[](int i) const { return at[i]; }
};

// As many pixels of a group as are sampled at a time.
template <class T, int P>
__device__ __forceinline__ Group<T, kPixels<T>> some(const Group<T, P>& from, int first) {
  Group<T, kPixels<T>> to;
#pragma unroll
  for (int i = 0; i < kPixels<T>; ++i) to[i] = from[first + i];
  return to;
}

// Where a thread works: `count` pixels of sample n, from (y, x) on. If count is 0, it has nothing to do.
template <int P>
struct Site {
  int32_t n, y, x, count;
};

// How the pixels of a batch of results, h x w each, are distributed to blocks. A block stays in one sample.
struct Grid {
  int32_t h, w;
  int32_t groups;  // per row
  int32_t blocks;  // per sample

  template <int P>
  static Grid of(const Sampling& s) {
    const int64_t groups = (s.w + P - 1) / P;
    return {int32_t(s.h), int32_t(s.w), int32_t(groups), int32_t((groups * s.h + kThreads - 1) / kThreads)};
  }

  template <int P>
  __device__ __forceinline__ Site<P> site() const {
    const uint32_t group = blockIdx.x % uint32_t(blocks) * kThreads + threadIdx.x;  // below 2^31 + kThreads
    const int32_t y = int32_t(group / uint32_t(groups)), x = int32_t(group % uint32_t(groups)) * P;
    const int32_t left = y < h ? w - x : 0;
    return {int32_t(blockIdx.x / uint32_t(blocks)), y, x, left < P ? left : P};
  }
};

// Whether a whole group of a tensor is one access: contiguous and aligned. True for absent tensors.
template <int P>
bool in_groups(const View& v) {
  if (!v.exists()) return true;
  const int64_t size = with_image(v.dtype, [](auto e) { return int64_t(sizeof e); });
  const auto whole = [](int64_t count, int64_t stride) { return count == 1 || stride % P == 0; };
  return v.stride_w == 1 && whole(v.n, v.stride_n) && whole(v.c, v.stride_c) && whole(v.h, v.stride_h) &&
         uintptr_t(v.data) % uintptr_t(size * P) == 0;
}

// The same for all fields, which must also have this type.
template <int P>
bool in_groups(const View* fields, int64_t count, Dtype dtype) {
  bool all = true;
  for (int64_t k = 0; fields != nullptr && k < count; ++k) {
    all = all && in_groups<P>(fields[k]) && (!fields[k].exists() || fields[k].dtype == dtype);
  }
  return all;
}

// Whether a call can run in quads. `others`: the tensors accessed in groups, besides flows and logits.
inline bool in_quads(const Sampling& s, std::initializer_list<View> others) {
  const Dtype dtype = s.flows[0].dtype;
  bool all = !s.wide && s.w % kQuad == 0;
  all = all && in_groups<kQuad>(s.flows, s.count, dtype) && in_groups<kQuad>(s.logits, s.count, dtype);
  for (const View& it : others) all = all && in_groups<kQuad>(it);
  return all;
}

// Calls f with a value of the call's working type, and with the number of pixels of a group.
template <class F>
auto with_groups(const Sampling& s, bool quads, F&& f) {
  if (s.wide) return f(double(), std::integral_constant<int, kPixels<double>>());
  if (quads) return f(float(), std::integral_constant<int, kQuad>());
  return f(float(), std::integral_constant<int, kPixels<float>>());
}

}  // namespace tcae_ops
