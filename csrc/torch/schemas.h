// The two operators behind all public ones. `inputs` are the image, the flows, the logits and the target:
// `flows` and `logits` count them; no logits means one flow taken as it is, no target means no loss.
// `forward` returns the loss if there is a target, then the warped image if it is asked for. `backward`
// takes the gradients of those results that something depends on (`by_loss`: the loss is the first of
// them) and returns those of the inputs numbered in `needs`. One list of all inputs: every further
// argument costs each call time, a list most of all.
#pragma once

#define TCAE_OPS_FORWARD                                                                      \
  "forward(Tensor[] inputs, int flows, int logits, str units, str padding, bool return_warped) " \
  "-> Tensor[]"
#define TCAE_OPS_BACKWARD_ARGUMENTS                                                          \
  "(Tensor[] upstream, bool by_loss, Tensor[] inputs, int flows, int logits, str units, str padding, " \
  "int[] needs) -> Tensor[]"
#define TCAE_OPS_BACKWARD "backward" TCAE_OPS_BACKWARD_ARGUMENTS
// The same bits every time. On a CPU that is always so.
#define TCAE_OPS_BACKWARD_DETERMINISTIC "backward_deterministic" TCAE_OPS_BACKWARD_ARGUMENTS
// `forward` of one image by one flow, on a CPU. Without lists: small images are warped in the time that
// lists take to come in and out.
#define TCAE_OPS_WARP_FORWARD "warp_forward(Tensor image, Tensor flow, str units, str padding) -> Tensor"
// The instruction set of the CPU kernels: its name, and a switch for tests, false if there is none of
// this name here.
#define TCAE_OPS_LEVEL_NAME "simd_level() -> str"
#define TCAE_OPS_USE_LEVEL "use_simd_level(str level) -> bool"
