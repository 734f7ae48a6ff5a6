// Tensors as kernels see them, and how groups of neighbouring pixels are read and written.
#pragma once

#include "groups.h"

namespace tcae_ops {

// A view without what all tensors of a call have in common. Kernels take two per flow by value, and two
// for its gradients.
struct Strided {
  void* data = nullptr;
  int64_t stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;
  Dtype dtype = Dtype::f32;
  bool wide = false;  // whole groups are one access each

  TCAE_HD bool exists() const { return data != nullptr; }
  TCAE_HD int64_t plane(int64_t n, int64_t c) const { return n * stride_n + c * stride_c; }
};

// A view for accesses in groups of P.
template <int P>
Strided strided(const View& v) {
  return {v.data, v.stride_n, v.stride_c, v.stride_h, v.stride_w, v.dtype, in_groups<P>(v)};
}

// Calls f with a value of the stored type. Where the working type is fp32, nothing is stored as fp64.
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

template <class E, int P>
__device__ __forceinline__ E* address(const Strided& v, int64_t c, const Site<P>& s) {
  return static_cast<E*>(v.data) + (v.plane(s.n, c) + s.y * v.stride_h + s.x * v.stride_w);
}

// Whether a group is one access.
template <int P>
__device__ __forceinline__ bool is_wide(const Strided& v, const Site<P>& s) {
  return P == kQuad || (v.wide && s.count == P);
}

// The numbers of a group as they are stored.
template <class E, class T, int P>
__device__ __forceinline__ Group<T, P> load_wide(const Strided& v, int64_t c, const Site<P>& s) {
  const auto pack = *reinterpret_cast<const Pack<E, P>*>(address<E>(v, c, s));
  Group<T, P> to;
#pragma unroll
  for (int i = 0; i < P; ++i) to[i] = Element<E>::template load<T>(pack.at[i]);
  return to;
}

// The same number by number, 0 beyond the end of the row.
template <class E, class T, int P>
__device__ __forceinline__ Group<T, P> load_each(const Strided& v, int64_t c, const Site<P>& s) {
  const E* const from = address<E>(v, c, s);
  Group<T, P> to;
#pragma unroll
  for (int i = 0; i < P; ++i) {
    to[i] = i < s.count ? Element<E>::template load<T>(from[i * v.stride_w]) : T(0);
  }
  return to;
}

template <class E, class T, int P>
__device__ __forceinline__ void store_wide(const Group<T, P>& from, const Strided& v, int64_t c, const Site<P>& s) {
  Pack<E, P> pack;
#pragma unroll
  for (int i = 0; i < P; ++i) pack.at[i] = Element<E>::store(from[i]);
  *reinterpret_cast<Pack<E, P>*>(address<E>(v, c, s)) = pack;
}

template <class E, class T, int P>
__device__ __forceinline__ void store_each(const Group<T, P>& from, const Strided& v, int64_t c, const Site<P>& s) {
  E* const to = address<E>(v, c, s);
#pragma unroll
  for (int i = 0; i < P; ++i) {
    if (i < s.count) to[i * v.stride_w] = Element<E>::store(from[i]);
  }
}

// x / 255, rounded correctly for all x that weighted sums of bytes can be. A real division is a call.
template <class T>
__device__ __forceinline__ T shown_by_bytes(T x) {
  const T inverse = T(1) / 255;
  const T quotient = x * inverse;
  return fma(fma(-quotient, T(255), x), inverse, quotient);
}

// The image values of a group.
template <class T, int P>
__device__ __forceinline__ Group<T, P> load_image(const Strided& v, int64_t c, const Site<P>& s) {
  return with_image<T>(v.dtype, [&](auto e) {
    using E = decltype(e);
    Group<T, P> to = is_wide(v, s) ? load_wide<E, T>(v, c, s) : load_each<E, T>(v, c, s);
#pragma unroll
    for (int i = 0; i < P; ++i) to[i] = sizeof(E) == 1 ? shown_by_bytes(to[i]) : to[i];
    return to;
  });
}

template <class T, int P>
__device__ __forceinline__ void store_image(const Group<T, P>& from, const Strided& v, int64_t c, const Site<P>& s) {
  with_float<T>(v.dtype, [&](auto e) {
    using E = decltype(e);
    if (is_wide(v, s)) {
      store_wide<E>(from, v, c, s);
    } else {
      store_each<E>(from, v, c, s);
    }
  });
}

}  // namespace tcae_ops
