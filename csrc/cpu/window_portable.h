// No windows where there is no fast permutation across vectors.
#pragma once

TCAE_OPS_LEVEL_BEGIN

constexpr bool kWindows = false;
constexpr bool kAlternating = false;
constexpr bool kGathers = false;
constexpr int32_t kLanes = kGroup;

template <bool zeros, int32_t stride, class E>
inline void read_window(const Plane<E>&, const Window&, int32_t, const int32_t*, const int32_t*,
                        const int32_t*, const int32_t*, float*, float*, float*, float*) {}

template <bool zeros>
inline void read_far(const Plane<float>&, const int32_t*, const int32_t*, const int32_t*, const int32_t*,
                     float*, float*, float*, float*) {}

TCAE_OPS_LEVEL_END
