// Between the row stage and the sample stage: which pixels a piece reads, and their weights.
#pragma once

#include "field.h"
#include "window.h"

TCAE_OPS_LEVEL_BEGIN

template <class T>
struct Cells {
  Lane<int32_t> left, right, top, bottom;  // columns and rows
  Lane<T> fx, fy;            // weights of right and bottom; both NaN at a NaN position
  Lane<T> slope_x, slope_y;  // derivatives of the folded position
  Window windows[kPiece / kGroup];

  Corners corners(int32_t i) const { return {&left[i], &right[i], &top[i], &bottom[i]}; }
};

template <class Rule, class T>
inline void find_cells(const Positions<T>& at, int32_t count, int32_t width, int32_t height, Cells<T>& to) {
  for (int32_t i = 0; i < count; ++i) {
    const Folded<T> x = Rule::fold(at.x[i], width);
    const Folded<T> y = Rule::fold(at.y[i], height);
    const Cell<T> column = cell(x.position, width, Rule::after_last(width));
    const Cell<T> row = cell(y.position, height, Rule::after_last(height));
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
  // Whole groups are read, so the last one is filled up.
  for (int32_t i = count; i < whole_groups(count); ++i) {
    to.left[i] = to.left[count - 1];
    to.right[i] = to.right[count - 1];
    to.top[i] = to.top[count - 1];
    to.bottom[i] = to.bottom[count - 1];
    to.fx[i] = to.fx[count - 1];
    to.fy[i] = to.fy[count - 1];
  }
  for (int32_t i = 0; i < count; i += kGroup) {
    to.windows[i / kGroup] = find_window<Rule::zeros_outside>(to.corners(i), width, height, T());
  }
}

template <class T>
inline void find_cells(const Sampling& s, const Positions<T>& at, int32_t count, Cells<T>& to) {
  with_padding(s.padding, [&](auto rule) {
    find_cells<decltype(rule)>(at, count, int32_t(s.image.w), int32_t(s.image.h), to);
  });
}

TCAE_OPS_LEVEL_END
