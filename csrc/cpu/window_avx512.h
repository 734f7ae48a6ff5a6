// Reads cells with AVX-512: windows of 32 columns, two vectors of each row, or single cells, transposed.
#pragma once

#include <immintrin.h>

TCAE_OPS_LEVEL_BEGIN

constexpr bool kWindows = true;
constexpr bool kInterleaved = true;  // windows of channels-last images
constexpr bool kPairs = true;
constexpr bool kPixels = true;
constexpr int32_t kLanes = 16;
constexpr int32_t kColumns = 32;
constexpr int32_t kMostRows = 8;  // for more rows single cells are faster

typedef float Numbers __attribute__((vector_size(64)));  // with operators, as a template argument

inline __m512i integers(const int32_t* from) { return _mm512_load_si512(from); }

// The lanes that lie in [0, size).
inline __mmask16 inside(__m512i index, int32_t size) {
  return _mm512_cmplt_epu32_mask(index, _mm512_set1_epi32(size));
}

template <bool zeros>
inline Window find_window(const Corners& at, int32_t width, int32_t height, float) {
  const int32_t last = width > kColumns ? width - kColumns : 0;
  const int32_t middle = (at.left[0] + at.right[kGroup - 1]) / 2 - kColumns / 2 + 1;
  const int32_t column = middle < 0 ? 0 : (middle > last ? last : middle);
  const __m512i l = integers(at.left), r = integers(at.right);
  const __m512i t = integers(at.top), b = integers(at.bottom);
  const __m512i origin = _mm512_set1_epi32(column);
  __mmask16 fits_l = inside(_mm512_sub_epi32(l, origin), kColumns);
  __mmask16 fits_r = inside(_mm512_sub_epi32(r, origin), kColumns);
  int32_t low = _mm512_reduce_min_epi32(_mm512_min_epi32(t, b));
  int32_t high = _mm512_reduce_max_epi32(_mm512_max_epi32(t, b));
  if (zeros) {
    fits_l |= ~inside(l, width);
    fits_r |= ~inside(r, width);
    low = low < 0 ? 0 : low;
    high = high < height ? high : height - 1;
  }
  const bool fits = __mmask16(fits_l & fits_r) == 0xffff && high - low < kMostRows;
  // If all pixels are outside the image there is nothing to read, not even one by one: 0 rows.
  return {column, low, fits ? (high < low ? 0 : high - low + 1) : -1};
}

// Loads the first n elements of a vector. The others are not touched.
struct Counted {
  __mmask16 mask;

  explicit Counted(int32_t n) : mask(n >= 16 ? 0xffff : (n > 0 ? (1 << n) - 1 : 0)) {}
  __m512 operator()(const float* from) const { return _mm512_maskz_loadu_ps(mask, from); }
  __m128i operator()(const uint8_t* from) const { return _mm_maskz_loadu_epi8(mask, from); }
  __m256i operator()(const Half* from) const { return _mm256_maskz_loadu_epi16(mask, from); }
  __m256i operator()(const BFloat16* from) const { return _mm256_maskz_loadu_epi16(mask, from); }
};

// Loads all elements. Masked loads are slow while stores are under way.
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

// A row of a window, of which the first `count` columns may be read: two vectors for each channel.
template <int32_t channels, bool interleaved, class Load>
struct RowOfWindow {
  __m512 first[channels], second[channels];

  template <class E>
  RowOfWindow(const E* from, int64_t stride_c, int32_t count) {
    if constexpr (interleaved) {
      load_interleaved(from, count * channels, first);
      load_interleaved(from + kLanes * channels, (count - kLanes) * channels, second);
    } else {
      const Load near(count), far(count - kLanes);
#pragma GCC unroll 4
      for (int32_t c = 0; c < channels; ++c, from += stride_c) {
        first[c] = numbers(from, near(from));
        second[c] = numbers(from, far(from + kLanes));
        asm("" : "+v"(first[c]), "+v"(second[c]));  // or each use would load them again
      }
    }
  }

  template <class E>
  static void load_interleaved(const E* from, int32_t count, __m512* to) {
    __m512 part[channels + 1];
#pragma GCC unroll 4
    for (int32_t i = 0; i < channels; ++i) {
      part[i] = numbers(from, Load(count - kLanes * i)(from + kLanes * i));
    }
    part[channels] = part[channels - 1];
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#pragma GCC unroll 4
    for (int32_t c = 0; c < channels; ++c) {
      const __m512i index =
          _mm512_add_epi32(_mm512_mullo_epi32(lane, _mm512_set1_epi32(channels)), _mm512_set1_epi32(c));
      to[c] = _mm512_permutex2var_ps(part[0], index, part[1]);
      if (channels < 3) continue;
      const __mmask16 behind = _mm512_cmpge_epi32_mask(index, _mm512_set1_epi32(2 * kLanes));
      to[c] = _mm512_mask_mov_ps(to[c], behind, _mm512_permutex2var_ps(part[2], index, part[3]));
    }
  }
};

// The four pixels of a group's cells as they are stored, 0 outside the image (under zeros).
template <bool zeros, int32_t channels, bool interleaved, class Load, class E, class Keep>
inline void read_counted(const Planes<E>& planes, const Window& window, int32_t count, const Corners& at,
                         int32_t i, const Keep& keep) {
  const __m512i origin = _mm512_set1_epi32(window.column);
  const __m512i l = integers(at.left), r = integers(at.right);
  const __m512i t = integers(at.top), b = integers(at.bottom);
  const __m512i index_l = _mm512_sub_epi32(l, origin), index_r = _mm512_sub_epi32(r, origin);
  const __mmask16 counts_l = zeros ? inside(l, planes.width) : __mmask16(0xffff);
  const __mmask16 counts_r = zeros ? inside(r, planes.width) : __mmask16(0xffff);
  __m512 tl[channels], tr[channels], bl[channels], br[channels];
#pragma GCC unroll 4
  for (int32_t c = 0; c < channels; ++c) tl[c] = tr[c] = bl[c] = br[c] = _mm512_setzero_ps();
  const E* from = planes.data + window.row * planes.stride_h + window.column * planes.stride_w;
  for (int32_t y = window.row; y < window.row + window.rows; ++y, from += planes.stride_h) {
    const RowOfWindow<channels, interleaved, Load> row(from, planes.stride_c, count);
    const __mmask16 is_top = _mm512_cmpeq_epi32_mask(t, _mm512_set1_epi32(y));
    const __mmask16 is_bottom = _mm512_cmpeq_epi32_mask(b, _mm512_set1_epi32(y));
#pragma GCC unroll 4
    for (int32_t c = 0; c < channels; ++c) {
      const __m512 at_l = _mm512_permutex2var_ps(row.first[c], index_l, row.second[c]);
      const __m512 at_r = _mm512_permutex2var_ps(row.first[c], index_r, row.second[c]);
      tl[c] = _mm512_mask_mov_ps(tl[c], is_top & counts_l, at_l);
      tr[c] = _mm512_mask_mov_ps(tr[c], is_top & counts_r, at_r);
      bl[c] = _mm512_mask_mov_ps(bl[c], is_bottom & counts_l, at_l);
      br[c] = _mm512_mask_mov_ps(br[c], is_bottom & counts_r, at_r);
    }
  }
  const auto take = keep.template at<Numbers>(i);
#pragma GCC unroll 4
  for (int32_t c = 0; c < channels; ++c) take(c, {tl[c], tr[c], bl[c], br[c]});
}

template <bool zeros, int32_t channels, bool interleaved, class E, class Keep>
inline void read_window(const Planes<E>& planes, const Window& window, int32_t, const Corners& at, int32_t i,
                        const Keep& keep) {
  const int32_t count = planes.width - window.column;
  if (count >= kColumns) {
    read_counted<zeros, channels, interleaved, All>(planes, window, count, at, i, keep);
  } else {
    read_counted<zeros, channels, interleaved, Counted>(planes, window, count, at, i, keep);
  }
}

// Sixteen times four numbers, as four vectors of sixteen.
template <class Four>
inline void transpose(Four&& four, __m512* to) {
  __m512 quarter[4];
#pragma GCC unroll 4
  for (int32_t i = 0; i < 4; ++i) {
    const __m512 first = _mm512_insertf32x4(_mm512_castps128_ps512(four(i)), four(i + 4), 1);
    quarter[i] = _mm512_insertf32x4(_mm512_insertf32x4(first, four(i + 8), 2), four(i + 12), 3);
  }
  const __m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(quarter[0], quarter[1]));
  const __m512d b = _mm512_castps_pd(_mm512_unpacklo_ps(quarter[2], quarter[3]));
  const __m512d c = _mm512_castps_pd(_mm512_unpackhi_ps(quarter[0], quarter[1]));
  const __m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(quarter[2], quarter[3]));
  to[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
  to[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
  to[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
  to[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
}

// Offsets in a plane, one for each cell. Pixels outside are moved inside.
template <class E>
struct Offsets {
  alignas(64) int32_t values[kLanes];

  Offsets(const Planes<E>& planes, __m512i column, __m512i row) {
    const auto clamp = [](__m512i i, int32_t last) {
      return _mm512_min_epi32(_mm512_max_epi32(i, _mm512_setzero_si512()), _mm512_set1_epi32(last));
    };
    const __m512i y = _mm512_mullo_epi32(clamp(row, planes.height - 1), _mm512_set1_epi32(planes.stride_h));
    const __m512i x = _mm512_mullo_epi32(clamp(column, planes.width - 1), _mm512_set1_epi32(planes.stride_w));
    _mm512_store_si512(values, _mm512_add_epi32(x, y));
    asm("" : "+m"(values));  // or the compiler would extract them one by one from the vector instead of loading them
  }

  int32_t operator[](int32_t i) const { return values[i]; }
};

template <bool zeros, class E>
inline __mmask16 inside(const Planes<E>& planes, __m512i column, __m512i row) {
  return zeros ? __mmask16(inside(column, planes.width) & inside(row, planes.height)) : __mmask16(0xffff);
}

// Without a window, if rows are contiguous: left and right pixel in one load of 64 bits.
template <bool zeros>
inline void read_pairs(const Planes<float>& planes, const Corners& at, Taps<float>* taps) {
  const __m512i l = integers(at.left), r = integers(at.right);
  const __m512i t = integers(at.top), b = integers(at.bottom);
  const __m512i zero = _mm512_setzero_si512(), last = _mm512_set1_epi32(planes.width - 2);
  const __m512i first = _mm512_min_epi32(_mm512_max_epi32(l, zero), last);
  const Offsets<float> above(planes, first, t), below(planes, first, b);
  // At an edge both columns may be the first of the pair, or the second.
  const __mmask16 l_first = _mm512_cmpeq_epi32_mask(l, first), r_first = _mm512_cmpeq_epi32_mask(r, first);
  for (int32_t c = 0; c < planes.channels; ++c) {
    const float* const data = planes.data + c * planes.stride_c;
    __m512 pixel[4];
    transpose(
        [&](int32_t k) {
          const __m128i pair = _mm_loadl_epi64((const __m128i_u*)(data + above[k]));
          return _mm_loadh_pi(_mm_castsi128_ps(pair), (const __m64*)(data + below[k]));
        },
        pixel);
    const auto put = [&](float* to, __mmask16 is_first, const __m512* pair, __mmask16 counts) {
      _mm512_store_ps(to, _mm512_maskz_mov_ps(counts, _mm512_mask_mov_ps(pair[1], is_first, pair[0])));
    };
    put(taps[c].tl.values, l_first, pixel, inside<zeros>(planes, l, t));
    put(taps[c].tr.values, r_first, pixel, inside<zeros>(planes, r, t));
    put(taps[c].bl.values, l_first, pixel + 2, inside<zeros>(planes, l, b));
    put(taps[c].br.values, r_first, pixel + 2, inside<zeros>(planes, r, b));
  }
}

inline __m128 four_numbers(__mmask8 mask, const float* from) { return _mm_maskz_loadu_ps(mask, from); }
inline __m128 four_numbers(__mmask8 mask, const uint8_t* from) {
  return _mm_cvtepi32_ps(_mm_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, from)));
}
inline __m128 four_numbers(__mmask8 mask, const Half* from) {
  return _mm_cvtph_ps(_mm_maskz_loadu_epi16(mask, from));
}
inline __m128 four_numbers(__mmask8 mask, const BFloat16* from) {
  const __m128i stored = _mm_maskz_loadu_epi16(mask, from);
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_cvtepu16_epi32(stored), 16));
}

// Without a window, if the channels of a pixel are contiguous: all of them in one load.
template <bool zeros, class E>
inline void read_pixels(const Planes<E>& planes, const Corners& at, Taps<float>* taps) {
  const __mmask8 mask = __mmask8((1 << planes.channels) - 1);
  const auto corner = [&](const int32_t* columns, const int32_t* rows, Lane<float> Taps<float>::*tap) {
    const __m512i x = integers(columns), y = integers(rows);
    const Offsets<E> offsets(planes, x, y);
    const __mmask16 counts = inside<zeros>(planes, x, y);
    __m512 channel[4];
    transpose([&](int32_t k) { return four_numbers(mask, planes.data + offsets[k]); }, channel);
    for (int32_t c = 0; c < planes.channels; ++c) {
      _mm512_store_ps((taps[c].*tap).values, _mm512_maskz_mov_ps(counts, channel[c]));
    }
  };
  corner(at.left, at.top, &Taps<float>::tl);
  corner(at.right, at.top, &Taps<float>::tr);
  corner(at.left, at.bottom, &Taps<float>::bl);
  corner(at.right, at.bottom, &Taps<float>::br);
}

TCAE_OPS_LEVEL_END
