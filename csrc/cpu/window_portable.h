// No windows: there is no fast permutation across vectors here.
#pragma once

TCAE_OPS_LEVEL_BEGIN

constexpr bool kWindows = false;
constexpr bool kInterleaved = false;
constexpr bool kPairs = false;
constexpr bool kPixels = false;
constexpr int32_t kLanes = kGroup;

using Numbers = float;  // no vectors are written by hand

template <bool zeros, int32_t channels, bool interleaved, class E, class Keep>
inline void read_window(const Planes<E>&, const Window&, int32_t, const Corners&, int32_t, const Keep&) {}

template <bool zeros>
inline void read_pairs(const Planes<float>&, const Corners&, Taps<float>*) {}

template <bool zeros, class E>
inline void read_pixels(const Planes<E>&, const Corners&, Taps<float>*) {}

TCAE_OPS_LEVEL_END
