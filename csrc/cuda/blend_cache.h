// From the gradient by a blended displacement to those of flows and logits. Threads cache the fields that
// they blended in shared memory, so that the backward pass reads each only once.
#pragma once

#include "field.h"

namespace tcae_ops {

// Blends of up to so many flows are cached whole. Each flow takes 6 KB of a block's shared memory, 12 KB in quads.
// With these numbers half of a processor's threads still fit on every architecture (tests/cuda/test_binaries.py).
// Blends of more flows do not run in quads.
constexpr int32_t kMostCached = 5, kMostCachedInQuads = 2;

// What a thread holds in shared memory, because registers do not suffice: every field's part in the blend. If
// there are too many fields, it holds only the blend, and the fields are read again. Neighbouring threads have
// their values side by side, so that no two of a warp share a bank.
template <class T, int P>
class BlendCache {
 public:
  __device__ __forceinline__ explicit BlendCache(const Fields& f)
      : fields_(f), own_(static_cast<Group<T, P>*>(shared_memory()) + threadIdx.x) {}

  // Bytes of a block.
  static unsigned size(const Fields& f) {
    const int32_t rows = !f.blended ? 0 : f.count <= kMostCached ? 3 * f.count : 4;
    return unsigned(rows) * kThreads * unsigned(sizeof(Group<T, P>));
  }

  __device__ __forceinline__ void read(int32_t k, const Part<T, P>& it) const {
    if (has_all()) put(k, it);
  }

  __device__ __forceinline__ void blended(const Blend<T, P>& it) const {
    if (has_all()) {
#pragma unroll 1
      for (int32_t k = 0; k < fields_.count; ++k) put(k, part_of(it, get(k)));
    } else {
      row(0) = it.mean.x, row(1) = it.mean.y, row(2) = it.top, row(3) = it.share;
    }
  }

  // Field k's part in the blend: its weight, and how far its displacement is from the mean.
  template <class F>
  __device__ __forceinline__ Part<T, P> part(int32_t k, const Site<P>& s) const {
    if (has_all()) return get(k);
    return part_of({{row(0), row(1)}, row(2), row(3)}, load_part<F, T>(fields_, k, s));
  }

 private:
  __device__ __forceinline__ bool has_all() const { return P == kQuad || fields_.count <= kMostCached; }
  __device__ __forceinline__ Group<T, P>& row(int32_t i) const { return own_[i * kThreads]; }
  __device__ __forceinline__ Part<T, P> get(int32_t k) const { return {row(3 * k), row(3 * k + 1), row(3 * k + 2)}; }
  __device__ __forceinline__ void put(int32_t k, const Part<T, P>& it) const {
    row(3 * k) = it.weight, row(3 * k + 1) = it.x, row(3 * k + 2) = it.y;
  }

  static __device__ __forceinline__ Part<T, P> part_of(const Blend<T, P>& blend, Part<T, P> it) {
#pragma unroll
    for (int i = 0; i < P; ++i) {
      it.weight[i] = blend_weight(it.weight[i], blend.top[i], blend.share[i]);
      it.x[i] -= blend.mean.x[i];
      it.y[i] -= blend.mean.y[i];
    }
    return it;
  }

  const Fields& fields_;
  Group<T, P>* own_;
};

// The gradients of flows and logits, where they are wanted.
template <class F, class T, int P>
__device__ __forceinline__ void displacement_backward_as(const Fields& f, const FieldViews& g, const Site<P>& s,
                                                         const BlendCache<T, P>& cache, const Vectors<T, P>& by) {
  if (!f.blended) {
    store_field<F>(by.x, g.flows[0], 0, s);
    store_field<F>(by.y, g.flows[0], 1, s);
    return;
  }
#pragma unroll 1
  for (int32_t k = 0; k < f.count; ++k) {
    if (!g.flows[k].exists() && !g.logits[k].exists()) continue;
    Part<T, P> it = cache.template part<F>(k, s);
#pragma unroll
    for (int i = 0; i < P; ++i) {
      const T weight = it.weight[i];
      it.weight[i] = weight * (it.x[i] * by.x[i] + it.y[i] * by.y[i]);
      it.x[i] = weight * by.x[i];
      it.y[i] = weight * by.y[i];
    }
    if (g.flows[k].exists()) {
      store_field<F>(it.x, g.flows[k], 0, s);
      store_field<F>(it.y, g.flows[k], 1, s);
    }
    if (g.logits[k].exists()) store_field<F>(it.weight, g.logits[k], 0, s);
  }
}

}  // namespace tcae_ops
