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

// As many of a group as are sampled at a time.
template <class T, int P>
__device__ __forceinline__ Vectors<T, kPixels<T>> some(const Vectors<T, P>& from, int first) {
  return {some(from.x, first), some(from.y, first)};
}

// The fields of a call, or where their gradients go; absent ones are not wanted.
struct FieldViews {
  Strided flows[kMostFlows], logits[kMostFlows];
  bool wide;  // all that exist are of one type, and groups of them one access

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
  bool blended;     // else there is one flow alone
  bool normalized;  // displacements in half image sizes

  template <int P>
  static Fields of(const Sampling& s) {
    return {FieldViews::of<P>(s.flows, s.logits, s.count, s.flows[0].dtype), int32_t(s.count), s.logits != nullptr, s.normalized};
  }
};

// One field of a blend: a logit and a displacement. Once the blend is known: what the logit weighs, and how
// far the displacement is from the mean.
template <class T, int P>
struct Part {
  Group<T, P> weight, x, y;
};

// Fields blended: their mean; of the softmax the largest logit, and what its exponential weighs.
template <class T, int P>
struct Blend {
  Vectors<T, P> mean;
  Group<T, P> top, share;
};

struct Any {};  // stands for the type of fields that have not all one type, or are not wide

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

// Calls body with what stands for the type of the fields. They are told apart once, not at every access,
// so that accesses need not wait for each other.
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

// The blend of several fields. Every one is read once: when a logit comes that is larger than those before,
// the sums so far are scaled down to it.
template <class F, class T, int P, class Keeper>
__device__ __forceinline__ Blend<T, P> blend_as(const Fields& f, const Site<P>& s, const Keeper& keeper) {
  const Part<T, P> first = load_part<F, T>(f, 0, s);
  keeper.read(0, first);
  Blend<T, P> it = {{first.x, first.y}, first.weight, {}};
  Group<T, P> total;
#pragma unroll
  for (int i = 0; i < P; ++i) total[i] = 1;
#pragma unroll 1
  for (int32_t k = 1; k < f.count; ++k) {
    const Part<T, P> next = load_part<F, T>(f, k, s);
    keeper.read(k, next);
#pragma unroll
    for (int i = 0; i < P; ++i) {
      const T logit = next.weight[i];
      const T rise = logit == it.top[i] ? T(0) : logit - it.top[i];  // of -inf and -inf it would be NaN
      const bool higher = rise > 0;
      const T e = exp_nonpositive(-fabs(rise));
      const T stays = higher ? e : T(1), weight = higher ? T(1) : e;  // NaN if `rise` is
      total[i] = total[i] * stays + weight;
      it.mean.x[i] = it.mean.x[i] * stays + weight * next.x[i];
      it.mean.y[i] = it.mean.y[i] * stays + weight * next.y[i];
      it.top[i] = higher ? logit : it.top[i];
    }
  }
#pragma unroll
  for (int i = 0; i < P; ++i) {
    it.share[i] = 1 / (total[i] + (it.top[i] - it.top[i]));  // an infinite top makes NaN
    it.mean.x[i] *= it.share[i];
    it.mean.y[i] *= it.share[i];
  }
  return it;
}

// The displacement. `keeper` is told of every field that is blended, and of the blend.
template <class T, int P, class Keeper>
__device__ __forceinline__ Vectors<T, P> displacement(const Fields& f, const Site<P>& s, const Keeper& keeper) {
  return with_fields<T>(f, f.views.wide, s, [&](auto type) -> Vectors<T, P> {
    using F = decltype(type);
    if (!f.blended) return {load_field<F, T>(f.views.flows[0], 0, s), load_field<F, T>(f.views.flows[0], 1, s)};
    const Blend<T, P> it = blend_as<F, T>(f, s, keeper);
    keeper.blended(it);
    return it.mean;
  });
}

// A keeper for passes without gradients.
struct KeepNothing {
  template <class T, int P>
  __device__ __forceinline__ void read(int32_t, const Part<T, P>&) const {}
  template <class T, int P>
  __device__ __forceinline__ void blended(const Blend<T, P>&) const {}
};

// Half an image's size in the units of the displacement, less one pixel: what 1 stands for.
template <class T>
__device__ __forceinline__ T unit(const Fields& f, int32_t size) {
  return f.normalized ? T(size - 1) / 2 : T(1);
}

}  // namespace tcae_ops
