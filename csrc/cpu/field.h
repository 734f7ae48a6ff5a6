// The row stage: from flows and logits of any type to positions in pixels, and back.
#pragma once

#include "rows.h"
#include "tcae_ops/blend.h"
#include "tcae_ops/passes.h"

TCAE_OPS_LEVEL_BEGIN

template <class T>
struct Positions {
  Lane<T> x, y;
};

template <class T>
class Field {
 public:
  explicit Field(const Sampling& s)
      : s_(s),
        scale_x_(s.normalized ? T(s.image.w - 1) / 2 : T(1)),
        scale_y_(s.normalized ? T(s.image.h - 1) / 2 : T(1)) {}

  // Where the pixels of a piece sample the image. Leaves behind what `backward` needs.
  void forward(const Piece& p, Positions<T>& at) {
    if (s_.logits == nullptr) {
      load(s_.flows[0], 0, p, dx_);
      load(s_.flows[0], 1, p, dy_);
    } else {
      blend(p);
    }
    for (int32_t i = 0; i < p.count; ++i) {
      at.x[i] = T(p.x + i) + in_pixels(dx_[i], scale_x_);
      at.y[i] = T(p.y) + in_pixels(dy_[i], scale_y_);
    }
  }

  // From the gradients by the positions of the piece last given to `forward` to those of its flows
  // and logits.
  void backward(const Piece& p, Positions<T>& by, const Gradients& g) {
    for (int32_t i = 0; i < p.count; ++i) {
      by.x[i] *= scale_x_;
      by.y[i] *= scale_y_;
    }
    if (s_.logits == nullptr) {
      if (g.flows[0].exists()) store(by.x, g.flows[0], 0, p), store(by.y, g.flows[0], 1, p);
      return;
    }
    for (int64_t k = 0; k < s_.count; ++k) {
      if (g.flows[k].exists() || g.logits[k].exists()) backward_blend(p, by, k, g);
    }
  }

 private:
  // Softmax over the logits without keeping all of them: first their maximum, then the sums.
  void blend(const Piece& p) {
    load(s_.logits[0], 0, p, top_);
    for (int64_t k = 1; k < s_.count; ++k) {
      load(s_.logits[k], 0, p, a_);
      for (int32_t i = 0; i < p.count; ++i) top_[i] = a_[i] > top_[i] ? a_[i] : top_[i];
    }
    for (int32_t i = 0; i < p.count; ++i) total_[i] = dx_[i] = dy_[i] = 0;
    for (int64_t k = 0; k < s_.count; ++k) {
      load_member(p, k);
      for (int32_t i = 0; i < p.count; ++i) {
        const T e = exp_nonpositive(a_[i] - top_[i]);
        total_[i] += e;
        dx_[i] += e * x_[i];
        dy_[i] += e * y_[i];
      }
    }
    for (int32_t i = 0; i < p.count; ++i) {
      dx_[i] /= total_[i];
      dy_[i] /= total_[i];
    }
  }

  void backward_blend(const Piece& p, const Positions<T>& by, int64_t k, const Gradients& g) {
    load_member(p, k);
    for (int32_t i = 0; i < p.count; ++i) {
      const T weight = exp_nonpositive(a_[i] - top_[i]) / total_[i];
      a_[i] = weight * ((x_[i] - dx_[i]) * by.x[i] + (y_[i] - dy_[i]) * by.y[i]);
      x_[i] = weight * by.x[i];
      y_[i] = weight * by.y[i];
    }
    if (g.flows[k].exists()) store(x_, g.flows[k], 0, p), store(y_, g.flows[k], 1, p);
    if (g.logits[k].exists()) store(a_, g.logits[k], 0, p);
  }

  void load_member(const Piece& p, int64_t k) {
    load(s_.logits[k], 0, p, a_);
    load(s_.flows[k], 0, p, x_);
    load(s_.flows[k], 1, p, y_);
  }

  const Sampling& s_;
  const T scale_x_, scale_y_;
  Lane<T> dx_, dy_;      // the displacement
  Lane<T> top_, total_;  // of the softmax: the maximum, and the sum of exponentials
  Lane<T> a_, x_, y_;    // a logit, and its flow
};

TCAE_OPS_LEVEL_END
