"""Table II of Gökdağ et al.: MobilESCAPE-Net and ESCAPE-Net layer by layer, with the parameters of each."""

from __future__ import annotations

from .. import networks
from ..artefact import Artefact
from ..cells import Source


def make(source: Source) -> Artefact:
    """Return the layers of both networks, ESCAPE-Net with either stride of its pools."""
    artefact = Artefact("mobilescapenet/architectures", "Networks layer by layer (Table II)", computed=True)
    for name, model in (
        ("mobilescapenet", "mobilescapenet"),
        ("escapenet", "escapenet"),
        ("escapenet_stride_2", "escapenet model.pool_stride=2"),
    ):
        table = networks.layers(model)
        table.loc[len(table)] = ["all", "", "", table["parameters"].sum()]
        artefact.tables[name] = table
    artefact.notes = [
        "ESCAPE-Net has its published 91,837,635 parameters only with pools of stride 1 (Table II) and same padding "
        "(Sec. IV-B); its authors' own code pools with stride 2, which makes 5,821,635.",
        "MobilESCAPE-Net has its published 67,843 only when the last depthwise convolution brings 64 channels to 128; Table II "
        "read to the letter (pointwise 64 to 128) has 59,011.",
    ]
    return artefact
