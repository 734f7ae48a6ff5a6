// One call of the kernels of a device: with memory, streams and threads as the device wants them.
#pragma once

#include "tcae_ops/passes.h"

// Both throw std::runtime_error if the kernels cannot run, or go wrong in a way that can be told.
void run_forward(const tcae_ops::Sampling& s, const tcae_ops::Outputs& out);
void run_backward(const tcae_ops::Sampling& s, const tcae_ops::Gradients& g, bool deterministic);
