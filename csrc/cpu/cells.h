// Between the row stage and the sample stage: which pixels a piece reads, and with what weights.
#pragma once

#include "field.h"

TCAE_OPS_LEVEL_BEGIN

template <class T>
struct Cells {
  int32_t left[kPiece], right[kPiece], top[kPiece], bottom[kPiece];  // columns and rows
  T fx[kPiece], fy[kPiece];            // weights of right and bottom; both NaN at a NaN position
  T slope_x[kPiece], slope_y[kPiece];  // derivatives of the folded position
};

template <Padding padding, class T>
inline void find_cells(const Positions<T>& at, int32_t count, int32_t width, int32_t height, Cells<T>& to) {
  for (int32_t i = 0; i < count; ++i) {
    const Folded<T> x = fold<padding>(at.x[i], width);
    const Folded<T> y = fold<padding>(at.y[i], height);
    const Cell<T> column = cell<padding>(x.position, width);
    const Cell<T> row = cell<padding>(y.position, height);
    const T sum = column.fraction + row.fraction;  // finite unless a position is NaN
    to.left[i] = column.first;
    to.right[i] = column.second;
    to.top[i] = row.first;
    to.bottom[i] = row.second;
    to.fx[i] = sum == sum ? column.fraction : sum;
    to.fy[i] = sum == sum ? row.fraction : sum;
    to.slope_x[i] = sum == sum ? x.slope : T(1);
    to.slope_y[i] = sum == sum ? y.slope : T(1);
  }
}

template <class T>
inline void find_cells(Padding padding, const Positions<T>& at, int32_t count, int32_t width,
                       int32_t height, Cells<T>& to) {
  switch (padding) {
    case Padding::border: return find_cells<Padding::border>(at, count, width, height, to);
    case Padding::zeros: return find_cells<Padding::zeros>(at, count, width, height, to);
    case Padding::reflection: return find_cells<Padding::reflection>(at, count, width, height, to);
  }
}

TCAE_OPS_LEVEL_END
