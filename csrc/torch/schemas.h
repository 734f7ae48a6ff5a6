// The two operators behind all public ones. Lists hold what is optional: no logits means one flow
// taken as it is, no target means no loss. `forward` returns the loss if there is a target, then the
// warped image if it is asked for. `backward` takes the gradients of these and returns those of the
// inputs numbered in `needs`, counted through image, flows, logits and target.
#pragma once

#define TCAE_OPS_FORWARD                                                                        \
  "forward(Tensor image, Tensor[] flows, Tensor[] logits, Tensor[] target, str units, str padding, " \
  "bool return_warped) -> Tensor[]"
#define TCAE_OPS_BACKWARD                                                                       \
  "backward(Tensor[] grad_loss, Tensor[] grad_warped, Tensor image, Tensor[] flows, Tensor[] logits, " \
  "Tensor[] target, str units, str padding, int[] needs) -> Tensor[]"
// The instruction set of the CPU kernels: its name, and a switch for tests, false if there is none of
// this name here.
#define TCAE_OPS_LEVEL_NAME "simd_level() -> str"
#define TCAE_OPS_USE_LEVEL "use_simd_level(str level) -> bool"
