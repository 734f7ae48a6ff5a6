// Tensors as kernels see them, and how groups of neighbouring pixels are read and written.
#pragma once

#include "groups.h"

namespace tcae_ops {

// A view without what all tensors of a call have in common. Kernels take two per flow by value, and two
// for its gradients.
template <class K>
struct Strided {
  using Offset = typename K::Offset;
  void* data = nullptr;
  Offset stride_n = 0, stride_c = 0, stride_h = 0, stride_w = 0;
  Dtype dtype = Dtype::f32;
  bool wide = false;  // whole groups are one access each

  TCAE_HD bool exists() const { return data != nullptr; }
  // Where plane (n, c) begins.
  TCAE_HD Offset plane(int32_t n, int32_t c) const { return n * stride_n + c * stride_c; }
};

template <class K>
Strided<K> strided(const View& v) {
  using Offset = typename K::Offset;
  return {v.data,         Offset(v.stride_n), Offset(v.stride_c), Offset(v.stride_h), Offset(v.stride_w), v.dtype,
          in_groups<K::pixels>(v)};
}

template <class E, int count>
struct alignas(sizeof(E) * count) Pack {
  E at[count];
};

template <class E, class K>
__device__ __forceinline__ E* address(const Strided<K>& v, int32_t c, const Site<K>& s) {
  return static_cast<E*>(v.data) + (s.n * v.stride_n + s.y * v.stride_h + s.x * v.stride_w + c * v.stride_c);
}

// Whether a group is one access.
template <class K>
__device__ __forceinline__ bool is_wide(const Strided<K>& v, const Site<K>& s) {
  return K::whole || (v.wide && s.count == K::pixels);
}

// The numbers of a group as they are stored.
template <class E, class K>
__device__ __forceinline__ Numbers<K> load_wide(const Strided<K>& v, int32_t c, const Site<K>& s) {
  const auto pack = *reinterpret_cast<const Pack<E, K::pixels>*>(address<E>(v, c, s));
  Numbers<K> to;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) to[i] = Element<E>::template load<typename K::Number>(pack.at[i]);
  return to;
}

// The same number by number, 0 beyond the end of the row.
template <class E, class K>
__device__ __forceinline__ Numbers<K> load_each(const Strided<K>& v, int32_t c, const Site<K>& s) {
  using T = typename K::Number;
  const E* const from = address<E>(v, c, s);
  Numbers<K> to;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) {
    to[i] = s.has(i) ? Element<E>::template load<T>(from[i * v.stride_w]) : T(0);
  }
  return to;
}

template <class E, class K>
__device__ __forceinline__ void store_wide(const Numbers<K>& from, const Strided<K>& v, int32_t c, const Site<K>& s) {
  Pack<E, K::pixels> pack;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) pack.at[i] = Element<E>::store(from[i]);
  *reinterpret_cast<Pack<E, K::pixels>*>(address<E>(v, c, s)) = pack;
}

template <class E, class K>
__device__ __forceinline__ void store_each(const Numbers<K>& from, const Strided<K>& v, int32_t c, const Site<K>& s) {
  E* const to = address<E>(v, c, s);
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) {
    if (s.has(i)) to[i * v.stride_w] = Element<E>::store(from[i]);
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
template <class K>
__device__ __forceinline__ Numbers<K> load_image(const Strided<K>& v, int32_t c, const Site<K>& s) {
  return K::with_image(v.dtype, [&](auto e) {
    using E = decltype(e);
    Numbers<K> to = is_wide(v, s) ? load_wide<E>(v, c, s) : load_each<E>(v, c, s);
#pragma unroll
    for (int i = 0; i < K::pixels; ++i) to[i] = sizeof(E) == 1 ? shown_by_bytes(to[i]) : to[i];
    return to;
  });
}

template <class K>
__device__ __forceinline__ void store_image(const Numbers<K>& from, const Strided<K>& v, int32_t c, const Site<K>& s) {
  K::with_result(v.dtype, [&](auto e) {
    using E = decltype(e);
    if (is_wide(v, s)) {
      store_wide<E>(from, v, c, s);
    } else {
      store_each<E>(from, v, c, s);
    }
  });
}

}  // namespace tcae_ops
