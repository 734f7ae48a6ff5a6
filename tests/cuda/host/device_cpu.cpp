#include "csrc/cpu/kernels.h"
#include "device.h"

namespace {

// Two threads that never run at the same time. The work is cut in two, as for real threads.
tcae_ops::Threads threads() {
  const auto run = [](int64_t count, int64_t grain, tcae_ops::Threads::Body body, void* context) {
    const int64_t half = count > grain ? count / 2 : count;
    body(half, count, context);
    body(0, half, context);
  };
  return {run, 2};
}

}  // namespace

void run_forward(const tcae_ops::Sampling& s, const tcae_ops::Outputs& out) {
  tcae_ops::kernels().forward(s, out, threads());
}

void run_backward(const tcae_ops::Sampling& s, const tcae_ops::Gradients& g, bool) {
  tcae_ops::kernels().backward(s, g, threads());
}
