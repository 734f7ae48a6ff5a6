// The absolute difference between samples and target, and its sign.
#pragma once

#include "sample.h"

TCAE_OPS_LEVEL_BEGIN

// The sum of |a - b|. Lanes fix the order of the additions for every vector width.
template <class T>
inline double distance(const Lane<T>& a, const T* b, int32_t count) {
  T lanes[kGroup] = {};
  int32_t i = 0;
  for (; i + kGroup <= count; i += kGroup) {
    for (int32_t j = 0; j < kGroup; ++j) lanes[j] += fabs(a[i + j] - b[i + j]);
  }
  for (int32_t j = 0; i + j < count; ++j) lanes[j] += fabs(a[i + j] - b[i + j]);
  double sum = 0;
  for (int32_t j = 0; j < kGroup; ++j) sum += double(lanes[j]);
  return sum;
}

// The gradient by the samples of a piece: that of the warped image plus that of the loss.
template <class T>
class Upstream {
 public:
  Upstream(const Sampling& s, const Gradients& g) : s_(s), g_(g) {}

  bool needs_samples() const { return g_.loss.exists(); }

  // `by_warped` receives the gradient by the samples, `by_target` that by the target.
  void load(const Piece& p, int64_t channel, const Lane<T>& samples, Lane<T>& by_warped,
            Lane<T>& by_target) const {
    if (g_.warped.exists()) {
      const T* const given = tcae_ops::load(g_.warped, channel, p, by_warped);
      for (int32_t i = 0; i < p.count; ++i) by_warped[i] = given[i];
    } else {
      for (int32_t i = 0; i < p.count; ++i) by_warped[i] = 0;
    }
    if (!g_.loss.exists()) return;
    const T* const target = load_image(s_.target, channel, p, by_target);
    const T step = static_cast<const T*>(g_.loss.data)[p.n * g_.loss.stride_n] / T(s_.numbers());
    for (int32_t i = 0; i < p.count; ++i) {
      const T sign = T(samples[i] > target[i]) - T(samples[i] < target[i]);
      by_warped[i] += sign * step;
      by_target[i] = -sign * step;
    }
  }

 private:
  const Sampling& s_;
  const Gradients& g_;
};

TCAE_OPS_LEVEL_END
