#pragma once

#include "kernels.h"

TCAE_OPS_LEVEL_BEGIN

void forward(const Sampling& s, const Outputs& out, const Threads& threads);

TCAE_OPS_LEVEL_END
