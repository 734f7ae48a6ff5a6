// From flows and logits of any type to positions in pixels, and back.
#pragma once

#include <type_traits>

#include "kernels.h"
#include "tcae_ops/blend.h"
#include "tensors.h"

namespace tcae_ops {

template <class T, int P>
struct Vectors {
  Group<T, P> x, y;
};

// As many pixels of a group as are sampled at a time.
template <class T, int P>
__device__ __forceinline__ Vectors<T, kPixels<T>> some(const Vectors<T, P>& from, int first) {
  return {some(from.x, first), some(from.y, first)};
}

// The fields of a call, or where their gradients go. Absent ones are not wanted.
struct FieldViews {
  Strided flows[kMostFlows], logits[kMostFlows];
  bool wide;  // all that exist have one type, and a group of each is one access

  template <int P>
  static FieldViews of(const View* flows, const View* logits, int64_t count, Dtype dtype) {
    FieldViews to = {};
    to.wide = in_groups<P>(flows, count, dtype) && in_groups<P>(logits, count, dtype);
    const auto take = [&](const View* from, Strided* views) {
      for (int64_t k = 0; from != nullptr && k < count; ++k) views[k] = strided<P>(from[k]);
    };
    take(flows, to.flows);
    take(logits, to.logits);
    return to;
  }
};

struct Fields {
  FieldViews views;
  int32_t count;
  bool blended;     // else there is only one flow
  bool normalized;  // displacements in half image sizes

  template <int P>
  static Fields of(const Sampling& s) {
    const FieldViews views = FieldViews::of<P>(s.flows, s.logits, s.count, s.flows[0].dtype);
    return {views, int32_t(s.count), s.logits != nullptr, s.normalized};
  }
};

// One field of a blend: its logit and displacement. Once the blend is known: its weight, and how far its
// displacement is from the mean.
template <class T, int P>
struct Part {
  Group<T, P> weight, x, y;
};

// A blend of fields: their mean, the largest logit, and the weight of the field that has it.
template <class T, int P>
struct Blend {
  Vectors<T, P> mean;
  Group<T, P> top, share;
};

struct Any {};  // stands for the type of fields that have different types, or are not wide

template <class F, class T, int P>
__device__ __forceinline__ Group<T, P> load_field(const Strided& v, int64_t c, const Site<P>& s) {
  if constexpr (std::is_same_v<F, Any>) {
    return with_float<T>(v.dtype, [&](auto e) { return load_each<decltype(e), T>(v, c, s); });
  } else {
    return load_wide<F, T>(v, c, s);
  }
}

template <class F, class T, int P>
__device__ __forceinline__ void store_field(const Group<T, P>& from, const Strided& v, int64_t c, const Site<P>& s) {
  if constexpr (std::is_same_v<F, Any>) {
    with_float<T>(v.dtype, [&](auto e) { store_each<decltype(e)>(from, v, c, s); });
  } else {
    store_wide<F>(from, v, c, s);
  }
}

// Calls body with a value of the fields' type, or Any. The type is looked at once, not at every access, so
// that accesses need not wait for each other.
template <class T, int P, class Body>
__device__ __forceinline__ auto with_fields(const Fields& f, bool wide, const Site<P>& s, Body&& body) {
  const Dtype dtype = f.views.flows[0].dtype;
  if constexpr (P == kQuad) {
    return with_float<T>(dtype, static_cast<Body&&>(body));
  } else if (wide && s.count == P) {
    if constexpr (sizeof(T) == 8) {
      if (dtype == Dtype::f64) return body(double());
    } else {
      return with_float<T>(dtype, static_cast<Body&&>(body));
    }
  }
  return body(Any());
}

template <class F, class T, int P>
__device__ __forceinline__ Part<T, P> load_part(const Fields& f, int32_t k, const Site<P>& s) {
  return {load_field<F, T>(f.views.logits[k], 0, s), load_field<F, T>(f.views.flows[k], 0, s),
          load_field<F, T>(f.views.flows[k], 1, s)};
}

// The blend of several fields, each of which is read once.
template <class F, class T, int P, class Cache>
__device__ __forceinline__ Blend<T, P> blend_as(const Fields& f, const Site<P>& s, const Cache& cache) {
  const Part<T, P> first = load_part<F, T>(f, 0, s);
  cache.read(0, first);
  Group<T, P, OnlineBlend<T>> sums;
#pragma unroll
  for (int i = 0; i < P; ++i) sums[i] = OnlineBlend<T>::start(first.weight[i], first.x[i], first.y[i]);
#pragma unroll 1
  for (int32_t k = 1; k < f.count; ++k) {
    const Part<T, P> next = load_part<F, T>(f, k, s);
    cache.read(k, next);
#pragma unroll
    for (int i = 0; i < P; ++i) sums[i].add(next.weight[i], next.x[i], next.y[i]);
  }
  Blend<T, P> it;
#pragma unroll
  for (int i = 0; i < P; ++i) {
    it.share[i] = sums[i].finish();
    it.top[i] = sums[i].top;
    it.mean.x[i] = sums[i].x;
    it.mean.y[i] = sums[i].y;
  }
  return it;
}

// The displacement. `cache` receives every field that is blended, and the blend.
template <class T, int P, class Cache>
__device__ __forceinline__ Vectors<T, P> displacement(const Fields& f, const Site<P>& s, const Cache& cache) {
  return with_fields<T>(f, f.views.wide, s, [&](auto type) -> Vectors<T, P> {
    using F = decltype(type);
    if (!f.blended) return {load_field<F, T>(f.views.flows[0], 0, s), load_field<F, T>(f.views.flows[0], 1, s)};
    const Blend<T, P> it = blend_as<F, T>(f, s, cache);
    cache.blended(it);
    return it.mean;
  });
}

// A cache for passes without gradients.
struct NoCache {
  template <class T, int P>
  __device__ __forceinline__ void read(int32_t, const Part<T, P>&) const {}
  template <class T, int P>
  __device__ __forceinline__ void blended(const Blend<T, P>&) const {}
};

// How many pixels a displacement of 1 stands for: one, or half the distance of the first and last pixel.
template <class T>
__device__ __forceinline__ T unit(const Fields& f, int32_t size) {
  return f.normalized ? T(size - 1) / 2 : T(1);
}

}  // namespace tcae_ops
