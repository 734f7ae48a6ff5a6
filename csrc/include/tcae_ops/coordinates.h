// From a displacement to a position on one axis, and to the two pixels that it lies between.
#pragma once

#include "padding.h"

TCAE_OPS_LEVEL_BEGIN

// A displacement in pixels, given in units of some pixels. On an axis of one pixel the normalised unit is
// 0 pixels. An infinite displacement is infinite there too, and 0 * inf would not be.
template <class T>
TCAE_HD T in_pixels(T displacement, T unit) {
  const T scaled = displacement * unit;
  return scaled == scaled ? scaled : displacement;
}

// The cell of an axis: its two pixels and the weight of the second. Under zeros the pixels may lie
// outside, from -1 to size + 1; else they are inside. A NaN position gives pixel 0 and a NaN weight.
template <class T>
struct Cell {
  int32_t first;
  int32_t second;
  T fraction;
};

// `after_last` is that of the PaddingRule: at the last pixel the second one only counts in the derivative.
template <class T>
TCAE_HD Cell<T> cell(T folded, int32_t size, int32_t after_last) {
  // floor() by way of the integers, which every instruction set has vectors of.
  const int32_t truncated = int32_t(folded == folded ? folded : T(0));
  const int32_t first = T(truncated) > folded ? truncated - 1 : truncated;
  return {first, first == size - 1 ? after_last : first + 1, folded - T(first)};
}

// The same cell in fewer steps, under border: there no folded position is negative.
template <class T>
TCAE_HD Cell<T> border_cell(T folded, int32_t size) {
  const int32_t first = int32_t(fmax(folded, T(0)));  // 0 for NaN
  return {first, first + 1 < size ? first + 1 : size - 1, folded - T(first)};
}

TCAE_OPS_LEVEL_END
