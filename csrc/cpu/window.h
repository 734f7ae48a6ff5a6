// Reads the pixels of a group of cells at once. In a smooth flow neighbouring pixels read neighbouring
// addresses: a few rows of a short run of columns. Then two vectors of each row hold everything that is
// needed, and permutations move it into place. That is far faster than 64 single reads or gathers.
#pragma once

#include "rows.h"
#include "tcae_ops/bilinear.h"
#include "tcae_ops/coordinates.h"

TCAE_OPS_LEVEL_BEGIN

// Channels that are read, and added to, at once. The window of a group serves all of them. Sums into
// neighbouring pixels wait for one another, but those of different channels do not.
constexpr int32_t kTogether = 4;

// Some channels of one image.
template <class E>
struct Planes {
  const E* data;
  int32_t channels;
  int64_t stride_c;
  int32_t stride_h, stride_w;
  int32_t width, height;
};

// The pixels of the cells of a piece.
template <class T>
struct Taps {
  Lane<T> tl, tr, bl, br;

  TCAE_HD Four<T> operator[](int32_t i) const { return {tl[i], tr[i], bl[i], br[i]}; }
};

// Columns and rows of the cells of a vector.
struct Corners {
  const int32_t *left, *right, *top, *bottom;
};

// A window holds every pixel of a group that lies in the image: `rows` rows from `row` on, of the columns
// from `column` on. Fewer than 0 rows: the group does not fit, or this instruction set has no windows.
struct Window {
  int32_t column, row, rows;
};

template <bool zeros, class T>
inline Window find_window(const Corners&, int32_t, int32_t, T) {
  return {0, 0, -1};
}

TCAE_OPS_LEVEL_END

#if defined(__AVX512F__)
#include "window_avx512.h"
#elif defined(__AVX2__)
#include "window_avx2.h"
#else
#include "window_portable.h"
#endif
