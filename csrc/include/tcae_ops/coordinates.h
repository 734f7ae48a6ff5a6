// From a position on one axis to the two pixels that it lies between, under each padding.
#pragma once

#include <math.h>

#include "platform.h"

namespace tcae_ops {
enum class Padding : int32_t { border, zeros, reflection };
}  // namespace tcae_ops

TCAE_OPS_LEVEL_BEGIN

// A displacement in pixels, given in units of some pixels. On an axis of one pixel the normalised unit is
// 0 pixels; an infinite displacement is infinite there too, and 0 * inf would not be.
template <class T>
TCAE_HD T in_pixels(T displacement, T unit) {
  const T scaled = displacement * unit;
  return scaled == scaled ? scaled : displacement;
}

// A position inside the image (under zeros: or next to it), and its derivative by the original one.
template <class T>
struct Folded {
  T position;
  T slope;
};

// Clamps and keeps NaN; the derivative is zero where the position was changed.
template <class T>
TCAE_HD Folded<T> fold_clamp(T p, T low, T high) {
  const T clamped = p < low ? low : (p > high ? high : p);
  return {clamped, clamped == p || p != p ? T(1) : T(0)};
}

// Mirrors at the centres of the first and last pixel. Exact: fmod and the subtractions do not round.
template <class T>
TCAE_HD Folded<T> fold_reflection(T p, T last) {
  const T magnitude = p < 0 ? -p : p;
  const T sign = p < 0 ? T(-1) : T(1);
  if (magnitude <= last || p != p) return {magnitude, sign};
  if (last == 0 || magnitude == T(INFINITY)) return {p > 0 ? last : T(0), T(0)};
  const T turn = fmod(magnitude, 2 * last);
  if (turn > last) return {2 * last - turn, -sign};
  return {turn, sign};
}

template <Padding padding, class T>
TCAE_HD Folded<T> fold(T p, int32_t size) {
  const T last = T(size - 1);
  if (padding == Padding::border) return fold_clamp(p, T(0), last);
  if (padding == Padding::zeros) return fold_clamp(p, T(-1), T(size));
  return fold_reflection(p, last);
}

// The cell of an axis: its two pixels and the weight of the second. Under zeros the pixels may lie
// outside, from -1 to size + 1; else they are inside. A NaN position gives pixel 0 and a NaN weight.
template <class T>
struct Cell {
  int32_t first;
  int32_t second;
  T fraction;
};

template <Padding padding, class T>
TCAE_HD Cell<T> cell(T folded, int32_t size) {
  // floor() by way of the integers, which every instruction set has vectors of.
  const int32_t truncated = int32_t(folded == folded ? folded : T(0));
  const int32_t first = T(truncated) > folded ? truncated - 1 : truncated;
  // At the last pixel the second one does not count, except in the derivative: there it is the
  // next pixel of the image as the padding continues it.
  int32_t second = first + 1;
  if (padding == Padding::border) second = first == size - 1 ? first : second;
  if (padding == Padding::reflection) second = first == size - 1 ? (size > 1 ? size - 2 : 0) : second;
  return {first, second, folded - T(first)};
}

TCAE_OPS_LEVEL_END
