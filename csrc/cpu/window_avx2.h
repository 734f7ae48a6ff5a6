// Windows of 16 columns in AVX2: two vectors of each row, for images whose rows are contiguous.
#pragma once

#include <immintrin.h>

#include <initializer_list>

TCAE_OPS_LEVEL_BEGIN

constexpr bool kWindows = true;
constexpr bool kInterleaved = false;
constexpr bool kPairs = false;
constexpr bool kPixels = false;
constexpr int32_t kLanes = 8;
constexpr int32_t kColumns = 16;
constexpr int32_t kMostRows = 8;  // for more rows single reads are faster

typedef float Numbers __attribute__((vector_size(32)));  // with operators, as a template argument

// A group is two vectors. Its window serves both, 8 columns further to the right for the second.
constexpr int32_t kShift = kGroup - kLanes;

inline __m256i integers(const int32_t* from) { return _mm256_load_si256((const __m256i*)from); }

// All bits set in the lanes that lie in [low, high).
inline __m256i between(__m256i index, int32_t low, int32_t high) {
  return _mm256_and_si256(_mm256_cmpgt_epi32(index, _mm256_set1_epi32(low - 1)),
                          _mm256_cmpgt_epi32(_mm256_set1_epi32(high), index));
}

inline int32_t first_column(int32_t column, int32_t half, int32_t width) {
  const int32_t wanted = column + half * kShift;
  return wanted < 0 ? 0 : (wanted > width - kColumns ? width - kColumns : wanted);
}

template <bool zeros>
inline Window find_window(const Corners& at, int32_t width, int32_t height, float) {
  if (width < kColumns) return {0, 0, -1};
  const int32_t column = (at.left[0] + at.right[kGroup - 1] - kShift) / 2 - kColumns / 2 + 1;
  __m256i fits = _mm256_set1_epi32(-1);
  __m256i low = integers(at.top), high = low;
  for (int32_t half = 0; half < 2; ++half) {
    const int32_t from = first_column(column, half, width);
    for (const int32_t* columns : {at.left, at.right}) {
      const __m256i x = integers(columns + half * kLanes);
      __m256i here = between(x, from, from + kColumns);
      if (zeros) {
        here = _mm256_or_si256(here, _mm256_xor_si256(between(x, 0, width), _mm256_set1_epi32(-1)));
      }
      fits = _mm256_and_si256(fits, here);
    }
    for (const int32_t* rows : {at.top, at.bottom}) {
      const __m256i y = integers(rows + half * kLanes);
      low = _mm256_min_epi32(low, y);
      high = _mm256_max_epi32(high, y);
    }
  }
  alignas(32) int32_t lows[kLanes], highs[kLanes];
  _mm256_store_si256((__m256i*)lows, low);
  _mm256_store_si256((__m256i*)highs, high);
  int32_t first = lows[0], last = highs[0];
  for (int32_t i = 1; i < kLanes; ++i) {
    first = lows[i] < first ? lows[i] : first;
    last = highs[i] > last ? highs[i] : last;
  }
  if (zeros) {
    first = first < 0 ? 0 : first;
    last = last < height ? last : height - 1;
  }
  const bool all = _mm256_movemask_epi8(fits) == -1 && last - first < kMostRows;
  return {column, first, all ? (last < first ? 0 : last - first + 1) : -1};
}

// Eight elements as numbers.
template <class E>
inline __m256 numbers(const E* from) {
  alignas(32) float to[kLanes];
  for (int32_t i = 0; i < kLanes; ++i) to[i] = Element<E>::template load<float>(from[i]);
  return _mm256_load_ps(to);
}
inline __m256 numbers(const float* from) { return _mm256_loadu_ps(from); }

// The four pixels of half a group's cells as they are stored, 0 outside the image (under zeros).
template <bool zeros, int32_t channels, bool interleaved, class E, class Keep>
inline void read_window(const Planes<E>& planes, const Window& window, int32_t half, const Corners& at,
                        int32_t i, const Keep& keep) {
  const auto take = keep.template at<Numbers>(i);
  const int32_t column = first_column(window.column, half, planes.width);
  const __m256i origin = _mm256_set1_epi32(column), limit = _mm256_set1_epi32(kLanes - 1);
  const __m256i l = integers(at.left), r = integers(at.right);
  const __m256i t = integers(at.top), b = integers(at.bottom);
  const __m256i index_l = _mm256_sub_epi32(l, origin), index_r = _mm256_sub_epi32(r, origin);
  const __m256 far_l = _mm256_castsi256_ps(_mm256_cmpgt_epi32(index_l, limit));
  const __m256 far_r = _mm256_castsi256_ps(_mm256_cmpgt_epi32(index_r, limit));
  const __m256i counts_l = zeros ? between(l, 0, planes.width) : _mm256_set1_epi32(-1);
  const __m256i counts_r = zeros ? between(r, 0, planes.width) : _mm256_set1_epi32(-1);
  for (int32_t c = 0; c < channels; ++c) {
    __m256 at_tl = _mm256_setzero_ps(), at_tr = at_tl, at_bl = at_tl, at_br = at_tl;
    const E* from = planes.data + c * planes.stride_c + window.row * planes.stride_h + column;
    for (int32_t y = window.row; y < window.row + window.rows; ++y, from += planes.stride_h) {
      const __m256 near = numbers(from), far = numbers(from + kLanes);
      const __m256 at_l = _mm256_blendv_ps(_mm256_permutevar8x32_ps(near, index_l),
                                           _mm256_permutevar8x32_ps(far, index_l), far_l);
      const __m256 at_r = _mm256_blendv_ps(_mm256_permutevar8x32_ps(near, index_r),
                                           _mm256_permutevar8x32_ps(far, index_r), far_r);
      const __m256i is_top = _mm256_cmpeq_epi32(t, _mm256_set1_epi32(y));
      const __m256i is_bottom = _mm256_cmpeq_epi32(b, _mm256_set1_epi32(y));
      const auto where = [](__m256i a, __m256i c) { return _mm256_castsi256_ps(_mm256_and_si256(a, c)); };
      at_tl = _mm256_blendv_ps(at_tl, at_l, where(is_top, counts_l));
      at_tr = _mm256_blendv_ps(at_tr, at_r, where(is_top, counts_r));
      at_bl = _mm256_blendv_ps(at_bl, at_l, where(is_bottom, counts_l));
      at_br = _mm256_blendv_ps(at_br, at_r, where(is_bottom, counts_r));
    }
    take(c, {at_tl, at_tr, at_bl, at_br});
  }
}

template <bool zeros>
inline void read_pairs(const Planes<float>&, const Corners&, Taps<float>*) {}

template <bool zeros, class E>
inline void read_pixels(const Planes<E>&, const Corners&, Taps<float>*) {}

TCAE_OPS_LEVEL_END
