// The two operators behind all public ones. `inputs` holds the image, the flows, the logits and the target.
// `flows` and `logits` are the numbers of these: without logits there is one flow, not blended, and without
// a target no loss. `forward` returns the loss if there is a target, then the warped image if
// `return_warped`. `backward` takes the gradients of those results that something depends on (`by_loss`:
// the loss is the first of them). It returns those of the inputs whose numbers are in `needs`. There is
// one list for all inputs, because each argument makes every call slower, a list most of all.
#pragma once

#define TCAE_OPS_FORWARD                                                                      \
  "forward(Tensor[] inputs, int flows, int logits, str units, str padding, bool return_warped) " \
  "-> Tensor[]"
#define TCAE_OPS_BACKWARD_ARGUMENTS                                                          \
  "(Tensor[] upstream, bool by_loss, Tensor[] inputs, int flows, int logits, str units, str padding, " \
  "int[] needs) -> Tensor[]"
#define TCAE_OPS_BACKWARD "backward" TCAE_OPS_BACKWARD_ARGUMENTS
// Gives the same bits every time. On a CPU `backward` does, too.
#define TCAE_OPS_BACKWARD_DETERMINISTIC "backward_deterministic" TCAE_OPS_BACKWARD_ARGUMENTS
// The same for one image and one flow, on a CPU. They take no lists: to pass lists takes as long as the
// warp of a small image.
#define TCAE_OPS_WARP_FORWARD "warp_forward(Tensor image, Tensor flow, str units, str padding) -> Tensor"
#define TCAE_OPS_WARP_BACKWARD                                                               \
  "warp_backward(Tensor by_warped, Tensor image, Tensor flow, str units, str padding, bool by_image, " \
  "bool by_flow) -> Tensor[]"
// The instruction set of the CPU kernels: its name, and a switch for tests that returns false if this
// machine has none of that name.
#define TCAE_OPS_LEVEL_NAME "simd_level() -> str"
#define TCAE_OPS_USE_LEVEL "use_simd_level(str level) -> bool"
