"""Every method by name, in the order of the paper's tables."""

from __future__ import annotations

from tcae.methods.alexnet import ALEXNET
from tcae.methods.deforming_ae import DEFORMING_AE
from tcae.methods.drml import DRML
from tcae.methods.fab_net import FAB_NET
from tcae.methods.hog import HOG
from tcae.methods.lbp import LBP
from tcae.methods.method import Method
from tcae.methods.pixels import PIXELS
from tcae.methods.random_weights import RANDOM_WEIGHTS
from tcae.methods.resnet import RESNET
from tcae.methods.split_brain import SPLIT_BRAIN
from tcae.methods.twin_cycle import TWIN_CYCLE

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(PIXELS, RANDOM_WEIGHTS, HOG, LBP),
        *(ALEXNET, DRML, RESNET),
        *(SPLIT_BRAIN, DEFORMING_AE, FAB_NET, TWIN_CYCLE),
    )
}
