// Element types: how numbers are stored, and how they convert to the working type T (float or double).
#pragma once

#include <string.h>

#include "views.h"

TCAE_OPS_LEVEL_BEGIN

struct Half {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

TCAE_HD float float_from_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

TCAE_HD uint32_t bits_of(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

TCAE_HD float widen(BFloat16 x) { return float_from_bits(uint32_t(x.bits) << 16); }

TCAE_HD float widen(Half x) {
#ifdef __CUDA_ARCH__
  float value;  // GPUs have instructions for these conversions
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(x.bits));
  return value;
#else
  const uint32_t sign = uint32_t(x.bits & 0x8000u) << 16;
  const uint32_t magnitude = uint32_t(x.bits & 0x7fffu) << 13;
  // Re-biases the exponent by a multiplication, which normalises subnormals as well.
  const float scaled = float_from_bits(magnitude) * float_from_bits(0x77800000u);  // 2^112
  const uint32_t special = magnitude | 0x7f800000u;                                // inf and NaN
  return float_from_bits(sign | (magnitude >= 0x0f800000u ? special : bits_of(scaled)));
#endif
}

// Rounds to nearest, ties to even.
TCAE_HD BFloat16 narrow_bfloat16(float value) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  BFloat16 result;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const uint32_t bits = bits_of(value);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  return {uint16_t(value != value ? 0x7fc0u : rounded)};
#endif
}

TCAE_HD Half narrow_half(float value) {
#ifdef __CUDA_ARCH__
  Half result;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(result.bits) : "f"(value));
  return result;
#else
  const uint32_t bits = bits_of(value);
  const uint32_t sign = (bits >> 16) & 0x8000u;
  const uint32_t magnitude = bits & 0x7fffffffu;
  // Normal numbers: re-bias the exponent and round the 13 bits that go.
  const uint32_t normal = (magnitude - 0x38000000u + 0x0fffu + ((magnitude >> 13) & 1u)) >> 13;
  // Subnormal numbers: adding 0.5 leaves the rounded result in the low bits.
  const uint32_t subnormal = bits_of(float_from_bits(magnitude) + 0.5f) - 0x3f000000u;
  const uint32_t finite = magnitude < 0x38800000u ? subnormal : normal;
  const uint32_t overflow = magnitude > 0x7f800000u ? 0x7e00u : 0x7c00u;
  return {uint16_t(sign | (magnitude >= 0x477ff000u ? overflow : finite))};
#endif
}

// Element<E>::load reads a number as it is stored. The image value is that number divided by `one`.
template <class E>
struct Element {
  static constexpr int one = 1;
  template <class T>
  TCAE_HD static T load(E x) { return T(x); }
  template <class T>
  TCAE_HD static E store(T x) { return E(x); }
};
template <>
struct Element<uint8_t> {
  static constexpr int one = 255;
  template <class T>
  TCAE_HD static T load(uint8_t x) { return T(x); }
};
template <>
struct Element<Half> {
  static constexpr int one = 1;
  template <class T>
  TCAE_HD static T load(Half x) { return T(widen(x)); }
  template <class T>
  TCAE_HD static Half store(T x) { return narrow_half(float(x)); }
};
template <>
struct Element<BFloat16> {
  static constexpr int one = 1;
  template <class T>
  TCAE_HD static T load(BFloat16 x) { return T(widen(x)); }
  template <class T>
  TCAE_HD static BFloat16 store(T x) { return narrow_bfloat16(float(x)); }
};

// Calls f with a value of the float type of a dtype.
template <class F>
TCAE_HD auto with_float(Dtype dtype, F&& f) {
  switch (dtype) {
    case Dtype::f16: return f(Half());
    case Dtype::bf16: return f(BFloat16());
    case Dtype::f64: return f(double());
    default: return f(float());
  }
}

// The same for images, which may also be bytes.
template <class F>
TCAE_HD auto with_image(Dtype dtype, F&& f) {
  return dtype == Dtype::u8 ? f(uint8_t()) : with_float(dtype, static_cast<F&&>(f));
}

TCAE_OPS_LEVEL_END
