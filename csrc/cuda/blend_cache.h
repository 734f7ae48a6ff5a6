// From the gradient by a blended displacement to those of flows and logits. Threads cache the fields that
// they blended, so that the backward pass reads each only once.
#pragma once

#include "field.h"

namespace tcae_ops {

// Blends of up to so many flows are cached whole. Each flow takes 6 KB of a block's shared memory, 12 KB in quads.
// With these numbers half of a processor's threads still fit on every architecture (tests/cuda/test_binaries.py).
// Blends of more flows do not run in quads.
constexpr int32_t kMostCached = 5, kMostCachedInQuads = 2;

// What a thread holds in shared memory where registers do not suffice: every field's part in the blend. If
// there are too many fields, it holds only the blend, and the fields are read again. Neighbouring threads have
// their values side by side, so that no two of a warp share a bank.
template <class K>
class SharedBlendCache {
  using T = typename K::Number;
  using Row = Numbers<K>;

 public:
  __device__ __forceinline__ explicit SharedBlendCache(const Fields<K>& f)
      : fields_(f), own_(static_cast<Row*>(shared_memory()) + threadIdx.x) {}

  // Bytes of a block.
  static unsigned size(const Fields<K>& f) {
    const int32_t rows = !f.blended ? 0 : f.count <= kMostCached ? 3 * f.count : 4;
    return unsigned(rows) * kThreads * unsigned(sizeof(Row));
  }

  __device__ __forceinline__ void read(int32_t k, const PartOf<K>& it, const WeightingOf<K>&) const {
    if (has_all()) put(k, it);
  }

  __device__ __forceinline__ void blended(const BlendOf<K>& it) const {
    if (has_all()) {
#pragma unroll 1
      for (int32_t k = 0; k < fields_.count; ++k) put(k, part_of(it, get(k)));
    } else {
      row(0) = it.mean.x, row(1) = it.mean.y, row(2) = it.top, row(3) = it.share;
    }
  }

  // Field k's part in the blend: its weight, and how far its displacement is from the mean.
  template <class F>
  __device__ __forceinline__ PartOf<K> part(int32_t k, const Site<K>& s) const {
    if (has_all()) return get(k);
    return part_of({{row(0), row(1)}, row(2), row(3)}, load_part<F>(fields_, k, s));
  }

 private:
  __device__ __forceinline__ bool has_all() const { return K::whole || fields_.count <= kMostCached; }
  __device__ __forceinline__ Row& row(int32_t i) const { return own_[i * kThreads]; }
  __device__ __forceinline__ PartOf<K> get(int32_t k) const { return {row(3 * k), row(3 * k + 1), row(3 * k + 2)}; }
  __device__ __forceinline__ void put(int32_t k, const PartOf<K>& it) const {
    row(3 * k) = it.weight, row(3 * k + 1) = it.x, row(3 * k + 2) = it.y;
  }

  static __device__ __forceinline__ PartOf<K> part_of(const BlendOf<K>& blend, PartOf<K> it) {
#pragma unroll
    for (int i = 0; i < K::pixels; ++i) {
      it.weight[i] = blend_weight(it.weight[i], blend.top[i], blend.share[i]);
      it.x[i] -= blend.mean.x[i];
      it.y[i] -= blend.mean.y[i];
    }
    return it;
  }

  const Fields<K>& fields_;
  Row* own_;
};

// The same in registers, for few fields. No weight is computed twice.
template <class K>
class RegisterBlendCache {
 public:
  __device__ __forceinline__ explicit RegisterBlendCache(const Fields<K>&) {}
  static unsigned size(const Fields<K>&) { return 0; }

  __device__ __forceinline__ void read(int32_t k, const PartOf<K>& it, const WeightingOf<K>& weighting) {
#pragma unroll
    for (int i = 0; i < K::pixels; ++i) {
#pragma unroll
      for (int before = 0; before < k; ++before) parts_[before].weight[i] *= weighting[i].before;
      parts_[k].weight[i] = weighting[i].own;
    }
    parts_[k].x = it.x, parts_[k].y = it.y;
  }

  __device__ __forceinline__ void blended(const BlendOf<K>& it) {
#pragma unroll
    for (PartOf<K>& part : parts_) {
#pragma unroll
      for (int i = 0; i < K::pixels; ++i) {
        part.weight[i] *= it.share[i];
        part.x[i] -= it.mean.x[i];
        part.y[i] -= it.mean.y[i];
      }
    }
  }

  template <class F>
  __device__ __forceinline__ PartOf<K> part(int32_t k, const Site<K>&) const { return parts_[k]; }

 private:
  PartOf<K> parts_[K::most_flows];
};

template <class K>
using BlendCache = std::conditional_t<K::common, RegisterBlendCache<K>, SharedBlendCache<K>>;

// The gradients of flows and logits, where they are wanted.
template <class F, class K>
__device__ __forceinline__ void displacement_backward_as(const Fields<K>& f, const FieldViews<K>& g, const Site<K>& s,
                                                         const BlendCache<K>& cache, const Displacements<K>& by) {
  if (!K::is_blended(f.blended)) {
    store_field<F>(by.x, g.flows[0], 0, s);
    store_field<F>(by.y, g.flows[0], 1, s);
    return;
  }
#pragma unroll K::fields_at_once
  for (int32_t k = 0; k < K::fields(f.count); ++k) {
    const bool moves = K::is_wanted(g.flows[k].exists()), weighs = K::is_wanted(g.logits[k].exists());
    if (!moves && !weighs) continue;
    PartOf<K> it = cache.template part<F>(k, s);
#pragma unroll
    for (int i = 0; i < K::pixels; ++i) {
      const auto weight = it.weight[i];
      it.weight[i] = weight * (it.x[i] * by.x[i] + it.y[i] * by.y[i]);
      it.x[i] = weight * by.x[i];
      it.y[i] = weight * by.y[i];
    }
    if (moves) {
      store_field<F>(it.x, g.flows[k], 0, s);
      store_field<F>(it.y, g.flows[k], 1, s);
    }
    if (weighs) store_field<F>(it.weight, g.logits[k], 0, s);
  }
}

}  // namespace tcae_ops
