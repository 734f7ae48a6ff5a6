// Windows of 32 columns in AVX-512: two vectors of each row, or two per channel if channels alternate.
#pragma once

#include <immintrin.h>

TCAE_OPS_LEVEL_BEGIN

constexpr bool kWindows = true;
constexpr bool kAlternating = true;  // windows of channels-last images
constexpr bool kGathers = true;
constexpr int32_t kLanes = 16;
constexpr int32_t kColumns = 32;
constexpr int32_t kMostRows = 8;  // beyond, single reads are faster

inline __m512i integers(const int32_t* from) { return _mm512_load_si512(from); }

// The lanes that lie in [0, size).
inline __mmask16 inside(__m512i index, int32_t size) {
  return _mm512_cmplt_epu32_mask(index, _mm512_set1_epi32(size));
}

template <Padding padding>
inline Window find_window(const int32_t* left, const int32_t* right, const int32_t* top,
                          const int32_t* bottom, int32_t width, int32_t height, float) {
  const int32_t last = width > kColumns ? width - kColumns : 0;
  const int32_t middle = (left[0] + right[kGroup - 1]) / 2 - kColumns / 2 + 1;
  const int32_t column = middle < 0 ? 0 : (middle > last ? last : middle);
  const __m512i l = integers(left), r = integers(right), t = integers(top), b = integers(bottom);
  const __m512i origin = _mm512_set1_epi32(column);
  __mmask16 fits_l = inside(_mm512_sub_epi32(l, origin), kColumns);
  __mmask16 fits_r = inside(_mm512_sub_epi32(r, origin), kColumns);
  int32_t low = _mm512_reduce_min_epi32(_mm512_min_epi32(t, b));
  int32_t high = _mm512_reduce_max_epi32(_mm512_max_epi32(t, b));
  if (padding == Padding::zeros) {
    fits_l |= ~inside(l, width);
    fits_r |= ~inside(r, width);
    low = low < 0 ? 0 : low;
    high = high < height ? high : height - 1;
  }
  const bool fits = __mmask16(fits_l & fits_r) == 0xffff && high - low < kMostRows;
  // Outside on all sides there is nothing to read, but also nothing to read one by one.
  return {column, low, fits ? (high < low ? 0 : high - low + 1) : -1};
}

// How many of the elements of a vector count; the others are not touched.
struct Counted {
  __mmask16 mask;

  explicit Counted(int32_t n) : mask(n >= 16 ? 0xffff : (n > 0 ? (1 << n) - 1 : 0)) {}
  __m512 operator()(const float* from) const { return _mm512_maskz_loadu_ps(mask, from); }
  __m128i operator()(const uint8_t* from) const { return _mm_maskz_loadu_epi8(mask, from); }
  __m256i operator()(const Half* from) const { return _mm256_maskz_loadu_epi16(mask, from); }
  __m256i operator()(const BFloat16* from) const { return _mm256_maskz_loadu_epi16(mask, from); }
};

// All of them. Masked loads are slow while stores are under way.
struct All {
  explicit All(int32_t) {}
  __m512 operator()(const float* from) const { return _mm512_loadu_ps(from); }
  __m128i operator()(const uint8_t* from) const { return _mm_loadu_si128((const __m128i*)from); }
  __m256i operator()(const Half* from) const { return _mm256_loadu_si256((const __m256i*)from); }
  __m256i operator()(const BFloat16* from) const { return _mm256_loadu_si256((const __m256i*)from); }
};

inline __m512 numbers(const float*, __m512 stored) { return stored; }
inline __m512 numbers(const uint8_t*, __m128i stored) {
  return _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(stored));
}
inline __m512 numbers(const Half*, __m256i stored) { return _mm512_cvtph_ps(stored); }
inline __m512 numbers(const BFloat16*, __m256i stored) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(stored), 16));
}

// A row of a window: 32 columns, `stride` elements each, of which the first `count` may be read.
template <int32_t stride, class Load>
struct RowOfWindow {
  __m512 part[2 * stride];

  template <class E>
  RowOfWindow(const E* from, int32_t count) {
#pragma GCC unroll 8
    for (int32_t i = 0; i < 2 * stride; ++i) part[i] = numbers(from, Load(count - 16 * i)(from + 16 * i));
  }

  // The elements that an index vector names.
  __m512 at(__m512i index) const {
    __m512 found = _mm512_permutex2var_ps(part[0], index, part[1]);
#pragma GCC unroll 8
    for (int32_t i = 1; i < stride; ++i) {
      const __mmask16 here = _mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(32 * i));
      found = _mm512_mask_mov_ps(found, here, _mm512_permutex2var_ps(part[2 * i], index, part[2 * i + 1]));
    }
    return found;
  }
};

// The four pixels of a group's cells as they are stored; outside the image (under zeros) zero.
template <bool zeros, int32_t stride, class Load, class E>
inline void read_counted(const Plane<E>& plane, const Window& window, int32_t count, const int32_t* left,
                        const int32_t* right, const int32_t* top, const int32_t* bottom, float* tl,
                        float* tr, float* bl, float* br) {
  const __m512i origin = _mm512_set1_epi32(window.column), step = _mm512_set1_epi32(stride);
  const __m512i l = integers(left), r = integers(right), t = integers(top), b = integers(bottom);
  const __m512i index_l = _mm512_mullo_epi32(_mm512_sub_epi32(l, origin), step);
  const __m512i index_r = _mm512_mullo_epi32(_mm512_sub_epi32(r, origin), step);
  const __mmask16 counts_l = zeros ? inside(l, plane.width) : __mmask16(0xffff);
  const __mmask16 counts_r = zeros ? inside(r, plane.width) : __mmask16(0xffff);
  __m512 at_tl = _mm512_setzero_ps(), at_tr = at_tl, at_bl = at_tl, at_br = at_tl;
  const E* from = plane.data + window.row * plane.stride_h + window.column * stride;
  for (int32_t y = window.row; y < window.row + window.rows; ++y, from += plane.stride_h) {
    const RowOfWindow<stride, Load> row(from, count);
    const __m512 at_l = row.at(index_l), at_r = row.at(index_r);
    const __mmask16 is_top = _mm512_cmpeq_epi32_mask(t, _mm512_set1_epi32(y));
    const __mmask16 is_bottom = _mm512_cmpeq_epi32_mask(b, _mm512_set1_epi32(y));
    at_tl = _mm512_mask_mov_ps(at_tl, is_top & counts_l, at_l);
    at_tr = _mm512_mask_mov_ps(at_tr, is_top & counts_r, at_r);
    at_bl = _mm512_mask_mov_ps(at_bl, is_bottom & counts_l, at_l);
    at_br = _mm512_mask_mov_ps(at_br, is_bottom & counts_r, at_r);
  }
  _mm512_store_ps(tl, at_tl);
  _mm512_store_ps(tr, at_tr);
  _mm512_store_ps(bl, at_bl);
  _mm512_store_ps(br, at_br);
}

template <bool zeros, int32_t stride, class E>
inline void read_window(const Plane<E>& plane, const Window& window, int32_t, const int32_t* left,
                        const int32_t* right, const int32_t* top, const int32_t* bottom, float* tl,
                        float* tr, float* bl, float* br) {
  const int32_t count = (plane.width - 1 - window.column) * stride + 1;
  if (count >= kColumns * stride) {
    read_counted<zeros, stride, All>(plane, window, count, left, right, top, bottom, tl, tr, bl, br);
  } else {
    read_counted<zeros, stride, Counted>(plane, window, count, left, right, top, bottom, tl, tr, bl, br);
  }
}

// The same for a group that fits no window. Gathers; of smaller elements there are none.
template <bool zeros>
inline void read_far(const Plane<float>& plane, const int32_t* left, const int32_t* right,
                     const int32_t* top, const int32_t* bottom, float* tl, float* tr, float* bl, float* br) {
  const __m512i stride_h = _mm512_set1_epi32(plane.stride_h), stride_w = _mm512_set1_epi32(plane.stride_w);
  const auto gather = [&](const int32_t* rows, const int32_t* columns, float* to) {
    const __m512i y = integers(rows), x = integers(columns);
    const __m512i index = _mm512_add_epi32(_mm512_mullo_epi32(y, stride_h), _mm512_mullo_epi32(x, stride_w));
    const __mmask16 counts =
        zeros ? __mmask16(inside(y, plane.height) & inside(x, plane.width)) : __mmask16(0xffff);
    _mm512_store_ps(to, _mm512_mask_i32gather_ps(_mm512_setzero_ps(), counts, index, plane.data, 4));
  };
  gather(top, left, tl);
  gather(top, right, tr);
  gather(bottom, left, bl);
  gather(bottom, right, br);
}

TCAE_OPS_LEVEL_END
