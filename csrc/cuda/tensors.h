// Tensors as kernels see them, and how groups of neighbouring pixels are read and written.
#pragma once

#include "launch.h"
#include "tcae_ops/dtypes.h"
#include "tcae_ops/views.h"

namespace tcae_ops {

constexpr int kThreads = 256;  // of a block
constexpr int kBlocks = 4;     // of a processor at least: half of the threads that the largest can hold

// A thread handles a group of neighbouring pixels of a row: 8 bytes of fp32 or fp64.
template <class T>
constexpr int kPixels = 8 / int(sizeof(T));

template <class T, class Value = T>
struct Group {
  Value at[kPixels<T>];

  TCAE_HD Value& operator[](int i) { return at[i]; }
  TCAE_HD const Value& operator[](int i) const { return at[i]; }
};

// A view without what all tensors of a call have in common. Kernels take four for each flow by value.
struct Strided {
  void* data = nullptr;
  int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;
  Dtype dtype = Dtype::f32;
  bool wide = false;  // whole groups lie in a row of memory and are aligned: one access each

  TCAE_HD bool exists() const { return data != nullptr; }
  TCAE_HD int64_t plane(int64_t n, int64_t c) const { return n * stride_n + c * stride_c; }
};

template <class T>
Strided strided(const View& v) {
  Strided to = {v.data, v.stride_n, v.stride_c, v.stride_h, v.stride_w, v.dtype, false};
  const int64_t size = with_image(v.dtype, [](auto e) { return int64_t(sizeof e); });
  const auto whole = [](int64_t count, int64_t stride) { return count == 1 || stride % kPixels<T> == 0; };
  to.wide = v.stride_w == 1 && whole(v.n, v.stride_n) && whole(v.c, v.stride_c) &&
            whole(v.h, v.stride_h) && uintptr_t(v.data) % uintptr_t(size * kPixels<T>) == 0;
  return to;
}

// Where a thread works: `count` pixels from (y, x) on of image n. None: it has nothing to do.
struct Site {
  int32_t n, y, x, count;
};

// How the pixels of a batch are dealt to blocks. A block stays in one image.
struct Grid {
  int32_t groups;  // of a row
  int32_t blocks;  // of an image

  template <class T>
  static Grid of(const View& image) {
    const int64_t groups = (image.w + kPixels<T> - 1) / kPixels<T>;
    return {int32_t(groups), int32_t((groups * image.h + kThreads - 1) / kThreads)};
  }

  template <class T>
  __device__ __forceinline__ Site site(int32_t h, int32_t w) const {
    const uint32_t group = blockIdx.x % uint32_t(blocks) * kThreads + threadIdx.x;  // below 2^31 + kThreads
    const int32_t y = int32_t(group / uint32_t(groups)), x = int32_t(group % uint32_t(groups)) * kPixels<T>;
    const int32_t left = y < h ? w - x : 0;
    return {int32_t(blockIdx.x / uint32_t(blocks)), y, x, left < kPixels<T> ? left : kPixels<T>};
  }
};

// Calls f with a value of the stored type. fp64 is never stored where the work is done in fp32.
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

// The same for images, which may be bytes as well.
template <class T, class F>
TCAE_HD auto with_image(Dtype dtype, F&& f) {
  return dtype == Dtype::u8 ? f(uint8_t()) : with_float<T>(dtype, static_cast<F&&>(f));
}

template <class E, int count>
struct alignas(sizeof(E) * count) Pack {
  E at[count];
};

template <class E>
__device__ __forceinline__ E* address(const Strided& v, int64_t c, const Site& s) {
  return static_cast<E*>(v.data) + (v.plane(s.n, c) + s.y * v.stride_h + s.x * v.stride_w);
}

// Whether a group is one access.
template <class T>
__device__ __forceinline__ bool is_wide(const Strided& v, const Site& s) {
  return v.wide && s.count == kPixels<T>;
}

// The numbers of a group as they are stored.
template <class E, class T>
__device__ __forceinline__ Group<T> load_wide(const Strided& v, int64_t c, const Site& s) {
  const auto pack = *reinterpret_cast<const Pack<E, kPixels<T>>*>(address<E>(v, c, s));
  Group<T> to;
#pragma unroll
  for (int i = 0; i < kPixels<T>; ++i) to[i] = Element<E>::template load<T>(pack.at[i]);
  return to;
}

// The same number by number; 0 beyond the end of the row.
template <class E, class T>
__device__ __forceinline__ Group<T> load_each(const Strided& v, int64_t c, const Site& s) {
  const E* const from = address<E>(v, c, s);
  Group<T> to;
#pragma unroll
  for (int i = 0; i < kPixels<T>; ++i) {
    to[i] = i < s.count ? Element<E>::template load<T>(from[i * v.stride_w]) : T(0);
  }
  return to;
}

template <class E, class T>
__device__ __forceinline__ void store_wide(const Group<T>& from, const Strided& v, int64_t c, const Site& s) {
  Pack<E, kPixels<T>> pack;
#pragma unroll
  for (int i = 0; i < kPixels<T>; ++i) pack.at[i] = Element<E>::store(from[i]);
  *reinterpret_cast<Pack<E, kPixels<T>>*>(address<E>(v, c, s)) = pack;
}

template <class E, class T>
__device__ __forceinline__ void store_each(const Group<T>& from, const Strided& v, int64_t c, const Site& s) {
  E* const to = address<E>(v, c, s);
#pragma unroll
  for (int i = 0; i < kPixels<T>; ++i) {
    if (i < s.count) to[i * v.stride_w] = Element<E>::store(from[i]);
  }
}

// x / 255, rounded correctly for all x that sums of weighted bytes can be; a division proper is a call.
template <class T>
__device__ __forceinline__ T shown_by_bytes(T x) {
  const T inverse = T(1) / 255;
  const T quotient = x * inverse;
  return fma(fma(-quotient, T(255), x), inverse, quotient);
}

// What an image shows.
template <class T>
__device__ __forceinline__ Group<T> load_image(const Strided& v, int64_t c, const Site& s) {
  return with_image<T>(v.dtype, [&](auto e) {
    using E = decltype(e);
    Group<T> to = is_wide<T>(v, s) ? load_wide<E, T>(v, c, s) : load_each<E, T>(v, c, s);
#pragma unroll
    for (int i = 0; i < kPixels<T>; ++i) to[i] = sizeof(E) == 1 ? shown_by_bytes(to[i]) : to[i];
    return to;
  });
}

template <class T>
__device__ __forceinline__ void store_image(const Group<T>& from, const Strided& v, int64_t c, const Site& s) {
  with_float<T>(v.dtype, [&](auto e) {
    using E = decltype(e);
    if (is_wide<T>(v, s)) {
      store_wide<E>(from, v, c, s);
    } else {
      store_each<E>(from, v, c, s);
    }
  });
}

}  // namespace tcae_ops
