// The CPU kernels, as the binding calls them. They do not know torch: threads come from the caller.
#pragma once

#include "tcae_ops/passes.h"

namespace tcae_ops {

// Runs body(begin, end, context) on several threads, over parts of [0, count) of at least `grain` items.
// Results never depend on how the work is divided.
struct Threads {
  using Body = void (*)(int64_t begin, int64_t end, void* context);
  void (*run)(int64_t count, int64_t grain, Body body, void* context);
  int64_t count;

  template <class F>
  inline __attribute__((always_inline)) void operator()(int64_t items, int64_t grain, F&& f) const {
    const auto body = [](int64_t begin, int64_t end, void* context) {
      (*static_cast<F*>(context))(begin, end);
    };
    run(items, grain, body, &f);
  }
};

// The kernels compiled for one instruction set.
struct Kernels {
  const char* level;
  bool usable;  // whether this machine has the instructions
  void (*forward)(const Sampling&, const Outputs&, const Threads&);
  void (*backward)(const Sampling&, const Gradients&, const Threads&);
};

// The kernels in use: the fastest usable ones, unless the environment variable TCAE_OPS_SIMD or
// use_kernels chooses others.
const Kernels& kernels();

// Switches the whole process to a level by name. Returns false if it does not exist or is not usable.
bool use_kernels(const char* level);

}  // namespace tcae_ops
