// The softmax that blends displacement fields.
#pragma once

#include <math.h>

#include "dtypes.h"

TCAE_OPS_LEVEL_BEGIN

// exp(x) for x <= 0, to 1e-7 relative. Subnormal results are zero. NaN stays NaN. Written without calls
// or branches, so that loops over it vectorise and give the same bits at every vector width.
TCAE_HD float exp_nonpositive(float x) {
  const float shift = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, in the low bits
  const float shifted = x * 1.44269504f + shift;
  const float n = shifted - shift;
  const float r = x - n * 0.693359375f - n * -2.12194440e-4f;  // ln 2 in two parts: the first product is exact
  float p = 0.0013814539f;  // (e^r - 1 - r) / r^2 on |r| <= ln(2) / 2, minimax
  p = p * r + 0.0083687454f;
  p = p * r + 0.041668389f;
  p = p * r + 0.16666521f;
  p = p * r + 0.49999994f;
  p = 1.0f + (r + r * r * p);
  const uint32_t exponent = (bits_of(shifted) - bits_of(shift) + 127u) << 23;
  const float result = p * float_from_bits(exponent);
  return x < -87.0f ? 0.0f : result;
}

TCAE_HD double exp_nonpositive(double x) { return exp(x); }

// What a field changes when it comes: the factor of everything before it, and its own weight.
template <class T>
struct Weighting {
  T before, own;
};

// A displacement blended by an online softmax: in one pass over the fields of a pixel. When a logit comes
// that is larger than those before, the sums so far are scaled down to it.
template <class T>
struct OnlineBlend {
  T top;    // the largest logit so far
  T total;  // of the weights exp(logit - top)
  T x, y;   // weighted sums of the displacements, in the end their mean

  // The first field.
  TCAE_HD static OnlineBlend start(T logit, T x, T y) { return {logit, T(1), x, y}; }

  TCAE_HD Weighting<T> add(T logit, T field_x, T field_y) {
    const T rise = logit == top ? T(0) : logit - top;  // of -inf and -inf it would be NaN
    const bool higher = rise > 0;
    const T e = exp_nonpositive(-fabs(rise));
    const T scale = higher ? e : T(1), weight = higher ? T(1) : e;  // NaN if `rise` is
    total = total * scale + weight;
    x = x * scale + weight * field_x;
    y = y * scale + weight * field_y;
    top = higher ? logit : top;
    return {scale, weight};
  }

  // Divides by the total. Returns the weight of the largest logit.
  TCAE_HD T finish() {
    const T share = 1 / (total + (top - top));  // an infinite top makes NaN
    x *= share;
    y *= share;
    return share;
  }
};

// The weight of a field, from its logit and from what the blend found.
template <class T>
TCAE_HD T blend_weight(T logit, T top, T share) {
  return exp_nonpositive(logit - top) * share;
}

TCAE_OPS_LEVEL_END
