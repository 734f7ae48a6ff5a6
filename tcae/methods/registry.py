"""Methods by name, in the order of the paper's tables, and encoders by name or path."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tcae.methods.alexnet import ALEXNET
from tcae.methods.deforming_ae import DEFORMING_AE
from tcae.methods.drml import DRML
from tcae.methods.fab_net import FAB_NET
from tcae.methods.fine_tuned import FINE_TUNED
from tcae.methods.hog import HOG
from tcae.methods.lbp import LBP
from tcae.methods.method import Material, Method
from tcae.methods.network_file import NetworkFile
from tcae.methods.pixels import PIXELS
from tcae.methods.random_weights import RANDOM_WEIGHTS
from tcae.methods.resnet import RESNET
from tcae.methods.split_brain import SPLIT_BRAIN
from tcae.methods.twin_cycle import TWIN_CYCLE
from tcae.models.encoder_file import load_encoder
from tcae.models.face_encoder import FaceEncoder
from tcae.weights import find_weights

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        *(PIXELS, RANDOM_WEIGHTS, HOG, LBP),
        *(ALEXNET, DRML, RESNET),
        *(SPLIT_BRAIN, DEFORMING_AE, FAB_NET, TWIN_CYCLE, FINE_TUNED),
    )
}


def network_method(name: str, file_and_side: str) -> Method:
    """Define a method from a network of another project, written FILE@SIDE.

    Raises:
        ValueError: It is not written like that.
    """
    file, _, side = file_and_side.rpartition("@")
    if not file or not side.isdecimal() or int(side) < 1:
        raise ValueError(f"{file_and_side}: FILE@SIDE is needed, as vgg.onnx@224")
    return Method(name, name, "descriptor", partial(_network, Path(file), int(side)))


def face_encoder(name_or_path: Path | str, material: Material) -> FaceEncoder:
    """Load or make the encoder that the option --encoder names.

    Args:
        name_or_path: A run directory, an encoder file, the name of weights that ship, the name of a
            method that needs no training, or a network of another project as FILE@SIDE.
        material: What to make the encoder from if it is not TCAE's.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be used. The error says why.
    """
    name = str(name_or_path)
    method = METHODS.get(name)
    if method is None and "@" in name and not Path(name).exists():
        method = network_method(name, name)
    if method is not None and not Path(name).exists():
        if method.cost != "nothing":
            raise ValueError(f"--encoder {name}: it is trained by tcae.experiment, and only there")
        return method.make(material)
    try:
        return load_encoder(name_or_path, material.device)
    except FileNotFoundError as error:
        if find_weights(name).exists():
            raise  # a run that has not finished, say
        ready = ", ".join(n for n, method in METHODS.items() if method.cost == "nothing")
        raise FileNotFoundError(f"{error}, nor a method without training ({ready})") from None


def _network(file: Path, side: int, material: Material) -> FaceEncoder:
    return material.encoder(NetworkFile(file, side))
