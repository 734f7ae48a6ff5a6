#include "kernels.h"

#include "backward.h"
#include "forward.h"

namespace tcae_ops {

const Kernels& kernels() {
  static const Kernels portable = {"portable", forward, backward};
  return portable;
}

}  // namespace tcae_ops
