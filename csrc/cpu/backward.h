#pragma once

#include "kernels.h"

TCAE_OPS_LEVEL_BEGIN

void backward(const Sampling& s, const Gradients& g, const Threads& threads);

TCAE_OPS_LEVEL_END
