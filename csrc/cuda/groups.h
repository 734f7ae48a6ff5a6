// Groups of neighbouring pixels: each thread handles one. How large they are, and where.
#pragma once

#include "facts.h"
#include "launch.h"

namespace tcae_ops {

constexpr int kThreads = 256;  // per block
template <class T, int P, class Value = T>
struct Group {
  Value at[P];

  TCAE_HD Value& operator[](int i) { return at[i]; }
  TCAE_HD const Value& operator[](int i) const { return at[i]; }
};

// A number for each pixel of a kernel's groups.
template <class K>
using Numbers = Group<typename K::Number, K::pixels>;

// `count` pixels of a group, from `first` on.
template <int count, class T, int P>
__device__ __forceinline__ Group<T, count> some(const Group<T, P>& from, int first) {
  Group<T, count> to;
#pragma unroll
  for (int i = 0; i < count; ++i) to[i] = from[first + i];
  return to;
}

// Where a thread works: `count` pixels of sample n, from (y, x) on. If count is 0, it has nothing to do.
template <class K>
struct Site {
  int32_t n, y, x, count;

  // Whether pixel i of the group exists. The first one does, or the thread has nothing to do.
  __device__ __forceinline__ bool has(int i) const { return i == 0 || i < count; }
};

// Divides whole numbers below 2^31 by one that the host knows (Granlund and Montgomery 1994, figure 4.1). A
// division takes twenty instructions, this takes three. But without divisions nvcc runs out of registers in the
// kernels for anything.
template <class K>
struct Divisor {
  uint32_t by, factor, shift;

  static constexpr Divisor of(int64_t by) {
    uint32_t shift = 0;
    while ((int64_t(1) << shift) < by) ++shift;
    return {uint32_t(by), uint32_t((((uint64_t(1) << shift) - uint64_t(by)) << 32) / uint64_t(by) + 1), shift};
  }

  TCAE_HD constexpr uint32_t divide(uint32_t number) const {
    return K::common ? (uint32_t(uint64_t(number) * factor >> 32) + number) >> shift : number / by;
  }
};

// Kernels run on small images where they are tested on a CPU. So the compiler looks at the largest numbers.
constexpr bool is_exact_for(int64_t by) {
  const auto divisor = Divisor<Common<float, float, 1, false>>::of(by);
  const uint32_t most = INT32_MAX, multiple = most / uint32_t(by) * uint32_t(by);
  return divisor.divide(most) == most / by && divisor.divide(multiple) == multiple / by &&
         divisor.divide(multiple - 1) == (multiple - 1) / by;
}
static_assert(is_exact_for(1) && is_exact_for(3) && is_exact_for(7) && is_exact_for(641) && is_exact_for(65537) &&
              is_exact_for(1 << 30) && is_exact_for((1 << 30) + 1) && is_exact_for(INT32_MAX));

// How the pixels of a batch of results, h x w each, are distributed to blocks. A block stays in one sample.
template <class K>
struct Grid {
  int32_t w;
  int32_t count;      // groups of a sample
  Divisor<K> groups;  // per row
  Divisor<K> blocks;  // per sample

  static Grid of(const Sampling& s) {
    const int64_t groups = (s.w + K::pixels - 1) / K::pixels, count = groups * s.h;
    return {int32_t(s.w), int32_t(count), Divisor<K>::of(groups), Divisor<K>::of((count + kThreads - 1) / kThreads)};
  }

  __device__ __forceinline__ Site<K> site() const {
    const uint32_t n = blocks.divide(blockIdx.x);
    const uint32_t group = (blockIdx.x - n * blocks.by) * kThreads + threadIdx.x;  // below 2^31 + kThreads
    const uint32_t y = groups.divide(group);
    const int32_t x = int32_t(group - y * groups.by) * K::pixels;
    const int32_t left = w - x, here = K::pixels == 1 || left > K::pixels ? K::pixels : left;
    return {int32_t(n), int32_t(y), x, group < uint32_t(count) ? here : 0};
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

}  // namespace tcae_ops
