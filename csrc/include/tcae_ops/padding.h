// How an image continues outside its edges. A new padding needs an enumerator, a name, a PaddingRule and
// a case in with_padding. Without one of the last two the sources do not compile.
#pragma once

#include <math.h>
#include <string.h>

#include "platform.h"

namespace tcae_ops {

enum class Padding : int32_t { border, zeros, reflection };

// Sets `padding` to the one of this name. False if there is none.
inline bool find_padding(const char* name, Padding& padding) {
  constexpr struct {
    const char* name;
    Padding padding;
  } kNames[] = {
      {"border", Padding::border}, {"zeros", Padding::zeros}, {"reflection", Padding::reflection}};
  for (const auto& it : kNames) {
    if (strcmp(name, it.name) != 0) continue;
    padding = it.padding;
    return true;
  }
  return false;
}

}  // namespace tcae_ops

TCAE_OPS_LEVEL_BEGIN

// A position inside the image (under zeros: or next to it), and its derivative by the original one.
template <class T>
struct Folded {
  T position;
  T slope;
};

// Clamps and keeps NaN.
template <class T>
TCAE_HD T clamp(T p, T low, T high) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  if constexpr (sizeof(T) == 4) {  // two instructions in place of four
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(p) : "f"(p), "f"(low));
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(p) : "f"(p), "f"(high));
    return p;
  }
#endif
  return p < low ? low : (p > high ? high : p);
}

// The derivative is zero where the position was changed.
template <class T>
TCAE_HD Folded<T> fold_clamp(T p, T low, T high) {
  const T clamped = clamp(p, low, high);
  return {clamped, clamped < p || clamped > p ? T(0) : T(1)};
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

// What a padding means on an axis of `size` pixels:
//   fold: the position inside the image that a position stands for;
//   after_last: the pixel that follows the last one. It has no weight in a sample, only in the derivative;
//   zeros_outside: whether folded positions, and so cells, may lie outside the image, where pixels are 0.
template <Padding padding>
struct PaddingRule;

template <>
struct PaddingRule<Padding::border> {
  static constexpr bool zeros_outside = false;
  template <class T>
  TCAE_HD static Folded<T> fold(T p, int32_t size) { return fold_clamp(p, T(0), T(size - 1)); }
  TCAE_HD static int32_t after_last(int32_t size) { return size - 1; }
};

template <>
struct PaddingRule<Padding::zeros> {
  static constexpr bool zeros_outside = true;
  template <class T>
  TCAE_HD static Folded<T> fold(T p, int32_t size) { return fold_clamp(p, T(-1), T(size)); }
  TCAE_HD static int32_t after_last(int32_t size) { return size; }
};

template <>
struct PaddingRule<Padding::reflection> {
  static constexpr bool zeros_outside = false;
  template <class T>
  TCAE_HD static Folded<T> fold(T p, int32_t size) { return fold_reflection(p, T(size - 1)); }
  TCAE_HD static int32_t after_last(int32_t size) { return size > 1 ? size - 2 : 0; }
};

// Calls f with the rule of a padding. There is no default, so the compiler names a padding without a case.
template <class F>
TCAE_HD auto with_padding(Padding padding, F&& f) {
  switch (padding) {
    case Padding::border: return f(PaddingRule<Padding::border>());
    case Padding::zeros: return f(PaddingRule<Padding::zeros>());
    case Padding::reflection: return f(PaddingRule<Padding::reflection>());
  }
  __builtin_unreachable();
}

TCAE_OPS_LEVEL_END
