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

template <int count, class T, int P>
__device__ __forceinline__ Vectors<T, count> some(const Vectors<T, P>& from, int first) {
  return {some<count>(from.x, first), some<count>(from.y, first)};
}

// The fields of a call, or where their gradients go. Absent ones are not wanted.
template <class K>
struct FieldViews {
  Strided<K> flows[K::most_flows], logits[K::most_flows];
  bool wide;  // all that exist have one type, and a group of each is one access

  static FieldViews of(const View* flows, const View* logits, int64_t count, Dtype dtype) {
    FieldViews to = {};
    to.wide = in_groups<K::pixels>(flows, count, dtype) && in_groups<K::pixels>(logits, count, dtype);
    const auto take = [&](const View* from, Strided<K>* views) {
      for (int64_t k = 0; from != nullptr && k < count; ++k) views[k] = strided<K>(from[k]);
    };
    take(flows, to.flows);
    take(logits, to.logits);
    return to;
  }
};

template <class K>
struct Fields {
  using T = typename K::Number;
  FieldViews<K> views;
  int32_t count;
  bool blended;      // else there is only one flow
  T unit_x, unit_y;  // how many pixels a displacement of 1 stands for

  static Fields of(const Sampling& s) {
    // One pixel, or half the distance of the first and last one.
    const auto unit = [&](int64_t size) { return s.normalized ? T(size - 1) / 2 : T(1); };
    const auto views = FieldViews<K>::of(s.flows, s.logits, s.count, s.flows[0].dtype);
    return {views, int32_t(s.count), s.logits != nullptr, unit(s.image.w), unit(s.image.h)};
  }
};

template <class K>
using Displacements = Vectors<typename K::Number, K::pixels>;

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

template <class K>
using PartOf = Part<typename K::Number, K::pixels>;
template <class K>
using WeightingOf = Group<typename K::Number, K::pixels, Weighting<typename K::Number>>;
template <class K>
using BlendOf = Blend<typename K::Number, K::pixels>;

struct Any {};  // stands for the type of fields that have different types, or are not wide

template <class F, class K>
__device__ __forceinline__ Numbers<K> load_field(const Strided<K>& v, int32_t c, const Site<K>& s) {
  if constexpr (std::is_same_v<F, Any>) {
    return K::with_field(v.dtype, [&](auto e) { return load_each<decltype(e)>(v, c, s); });
  } else {
    return load_wide<F>(v, c, s);
  }
}

template <class F, class K>
__device__ __forceinline__ void store_field(const Numbers<K>& from, const Strided<K>& v, int32_t c, const Site<K>& s) {
  if constexpr (std::is_same_v<F, Any>) {
    K::with_field(v.dtype, [&](auto e) { store_each<decltype(e)>(from, v, c, s); });
  } else {
    store_wide<F>(from, v, c, s);
  }
}

// Calls body with a value of the fields' type, or Any. The type is looked at once, not at every access, so
// that accesses need not wait for each other.
template <class K, class Body>
__device__ __forceinline__ auto with_fields(const Fields<K>& f, bool wide, const Site<K>& s, Body&& body) {
  const Dtype dtype = f.views.flows[0].dtype;
  if constexpr (K::whole) {
    return K::with_field(dtype, static_cast<Body&&>(body));
  } else if (wide && s.count == K::pixels) {
    if constexpr (sizeof(typename K::Number) == 8) {
      if (dtype == Dtype::f64) return body(double());
    } else {
      return K::with_field(dtype, static_cast<Body&&>(body));
    }
  }
  return body(Any());
}

template <class F, class K>
__device__ __forceinline__ PartOf<K> load_part(const Fields<K>& f, int32_t k, const Site<K>& s) {
  return {load_field<F>(f.views.logits[k], 0, s), load_field<F>(f.views.flows[k], 0, s),
          load_field<F>(f.views.flows[k], 1, s)};
}

// The blend of several fields, each of which is read once.
template <class F, class K, class Cache>
__device__ __forceinline__ BlendOf<K> blend_as(const Fields<K>& f, const Site<K>& s, Cache& cache) {
  using Online = OnlineBlend<typename K::Number>;
  const PartOf<K> first = load_part<F>(f, 0, s);
  WeightingOf<K> whole;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) whole[i] = {1, 1};
  cache.read(0, first, whole);
  Group<typename K::Number, K::pixels, Online> sums;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) sums[i] = Online::start(first.weight[i], first.x[i], first.y[i]);
#pragma unroll K::fields_at_once
  for (int32_t k = 1; k < K::fields(f.count); ++k) {
    const PartOf<K> next = load_part<F>(f, k, s);
    WeightingOf<K> weighting;
#pragma unroll
    for (int i = 0; i < K::pixels; ++i) weighting[i] = sums[i].add(next.weight[i], next.x[i], next.y[i]);
    cache.read(k, next, weighting);
  }
  BlendOf<K> it;
#pragma unroll
  for (int i = 0; i < K::pixels; ++i) {
    it.share[i] = sums[i].finish();
    it.top[i] = sums[i].top;
    it.mean.x[i] = sums[i].x;
    it.mean.y[i] = sums[i].y;
  }
  return it;
}

// The displacement. `cache` receives every field that is blended, and the blend.
template <class K, class Cache>
__device__ __forceinline__ Displacements<K> displacement(const Fields<K>& f, const Site<K>& s, Cache&& cache) {
  return with_fields(f, f.views.wide, s, [&](auto type) -> Displacements<K> {
    using F = decltype(type);
    const Strided<K>& flow = f.views.flows[0];
    if (!K::is_blended(f.blended)) return {load_field<F>(flow, 0, s), load_field<F>(flow, 1, s)};
    const BlendOf<K> it = blend_as<F>(f, s, cache);
    cache.blended(it);
    return it.mean;
  });
}

// A cache for passes without gradients.
struct NoCache {
  template <class T, int P>
  __device__ __forceinline__ void read(int32_t, const Part<T, P>&, const Group<T, P, Weighting<T>>&) const {}
  template <class T, int P>
  __device__ __forceinline__ void blended(const Blend<T, P>&) const {}
};

}  // namespace tcae_ops
