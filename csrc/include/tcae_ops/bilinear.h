// The bilinear sample of four pixels, and its derivatives.
#pragma once

#include "platform.h"

TCAE_OPS_LEVEL_BEGIN

// The pixels of a cell or their weights: top left, top right, bottom left, bottom right.
template <class T>
struct Four {
  T tl, tr, bl, br;
};

template <class T>
TCAE_HD Four<T> bilinear_weights(T fx, T fy) {
  return {(1 - fy) * (1 - fx), (1 - fy) * fx, fy * (1 - fx), fy * fx};
}

// A pixel of weight zero does not count, even if it is NaN or inf: at whole-pixel positions the
// result is the pixel, bit for bit.
template <class T>
TCAE_HD T bilinear(Four<T> weight, Four<T> pixel) {
  T sum = weight.tl * pixel.tl;
  sum = weight.tr != 0 ? sum + weight.tr * pixel.tr : sum;
  sum = weight.bl != 0 ? sum + weight.bl * pixel.bl : sum;
  return weight.br != 0 ? sum + weight.br * pixel.br : sum;
}

template <class T>
TCAE_HD T bilinear_dx(T fy, Four<T> pixel) {
  return (1 - fy) * (pixel.tr - pixel.tl) + fy * (pixel.br - pixel.bl);
}

template <class T>
TCAE_HD T bilinear_dy(T fx, Four<T> pixel) {
  return (1 - fx) * (pixel.bl - pixel.tl) + fx * (pixel.br - pixel.tr);
}

TCAE_OPS_LEVEL_END
