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

  // Finds where the pixels of a piece sample the image. Keeps what `backward` needs.
  void forward(const Piece& p, Positions<T>& at) {
    const T *dx = dx_.values, *dy = dy_.values;
    if (s_.logits == nullptr) {
      dx = load(s_.flows[0], 0, p, dx_);
      dy = load(s_.flows[0], 1, p, dy_);
    } else {
      blend(p);
    }
    const int32_t width = p.count / p.rows;
    for (int32_t row = 0; row < p.rows; ++row) {
      const int32_t begin = row * width;
      for (int32_t i = 0; i < width; ++i) {
        at.x[begin + i] = T(p.x + i) + in_pixels(dx[begin + i], scale_x_);
        at.y[begin + i] = T(p.y + row) + in_pixels(dy[begin + i], scale_y_);
      }
    }
  }

  // Stores the gradients of flows and logits, from those by the positions of the piece that `forward`
  // was last called with.
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
  // One field of a blend: its logit and its displacement.
  struct Member {
    const T *logit, *x, *y;
  };

  Member member(const Piece& p, int64_t k) {
    return {load(s_.logits[k], 0, p, logit_), load(s_.flows[k], 0, p, x_), load(s_.flows[k], 1, p, y_)};
  }

  void blend(const Piece& p) {
    const Member first = member(p, 0);
    for (int32_t i = 0; i < p.count; ++i) put(i, OnlineBlend<T>::start(first.logit[i], first.x[i], first.y[i]));
    for (int64_t k = 1; k < s_.count; ++k) {
      const Member m = member(p, k);
      for (int32_t i = 0; i < p.count; ++i) {
        OnlineBlend<T> it = get(i);
        it.add(m.logit[i], m.x[i], m.y[i]);
        put(i, it);
      }
    }
    for (int32_t i = 0; i < p.count; ++i) {
      OnlineBlend<T> it = get(i);
      share_[i] = it.finish();
      dx_[i] = it.x;
      dy_[i] = it.y;
    }
  }

  TCAE_HD OnlineBlend<T> get(int32_t i) const { return {top_[i], total_[i], dx_[i], dy_[i]}; }
  TCAE_HD void put(int32_t i, const OnlineBlend<T>& it) {
    top_[i] = it.top;
    total_[i] = it.total;
    dx_[i] = it.x;
    dy_[i] = it.y;
  }

  void backward_blend(const Piece& p, const Positions<T>& by, int64_t k, const Gradients& g) {
    const Member m = member(p, k);
    for (int32_t i = 0; i < p.count; ++i) {
      const T weight = blend_weight(m.logit[i], top_[i], share_[i]);
      by_logit_[i] = weight * ((m.x[i] - dx_[i]) * by.x[i] + (m.y[i] - dy_[i]) * by.y[i]);
      by_x_[i] = weight * by.x[i];
      by_y_[i] = weight * by.y[i];
    }
    if (g.flows[k].exists()) store(by_x_, g.flows[k], 0, p), store(by_y_, g.flows[k], 1, p);
    if (g.logits[k].exists()) store(by_logit_, g.logits[k], 0, p);
  }

  const Sampling& s_;
  const T scale_x_, scale_y_;
  Lane<T> dx_, dy_;  // the displacement
  // Of the softmax: the largest logit, the sum of the weights, and the share of the largest.
  Lane<T> top_, total_, share_;
  Lane<T> logit_, x_, y_;
  // Separate lanes: compilers do not vectorise where the memory that is written may be read, too.
  Lane<T> by_logit_, by_x_, by_y_;
};

TCAE_OPS_LEVEL_END
