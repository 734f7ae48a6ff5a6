// One call of a device's kernels, with the memory, streams and threads that they need.
#pragma once

#include "tcae_ops/passes.h"

// Both throw std::runtime_error if the kernels cannot run, or if an error in them is found.
void run_forward(const tcae_ops::Sampling& s, const tcae_ops::Outputs& out);
void run_backward(const tcae_ops::Sampling& s, const tcae_ops::Gradients& g, bool deterministic);
