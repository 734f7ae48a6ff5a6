#include "kernels.h"

#include <stdlib.h>
#include <string.h>

#include <atomic>

#define TCAE_OPS_DECLARE(level)                                                   \
  namespace tcae_ops {                                                            \
  namespace level {                                                               \
  void forward(const Sampling& s, const Outputs& out, const Threads& threads);    \
  void backward(const Sampling& s, const Gradients& g, const Threads& threads);   \
  }                                                                               \
  }

TCAE_OPS_DECLARE(portable)
#ifdef TCAE_OPS_X86
TCAE_OPS_DECLARE(avx2)
TCAE_OPS_DECLARE(avx512)
#endif

namespace tcae_ops {
namespace {

// In order of preference.
const Kernels kLevels[] = {
#ifdef TCAE_OPS_X86
    {"avx512",
     __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"),
     avx512::forward, avx512::backward},
    {"avx2", bool(__builtin_cpu_supports("avx2")), avx2::forward, avx2::backward},
#endif
    {"portable", true, portable::forward, portable::backward},
};

const Kernels* find(const char* level) {
  for (const Kernels& it : kLevels) {
    if (it.usable && (level == nullptr || strcmp(level, it.level) == 0)) return &it;
  }
  return nullptr;
}

std::atomic<const Kernels*>& chosen() {
  static std::atomic<const Kernels*> it = [] {
    const Kernels* const named = find(getenv("TCAE_OPS_SIMD"));
    return named != nullptr ? named : find(nullptr);
  }();
  return it;
}

}  // namespace

const Kernels& kernels() { return *chosen().load(std::memory_order_relaxed); }

bool use_kernels(const char* level) {
  const Kernels* const named = find(level);
  if (named != nullptr) chosen().store(named, std::memory_order_relaxed);
  return named != nullptr;
}

}  // namespace tcae_ops
