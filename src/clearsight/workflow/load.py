"""load: a bundle as a torch module, for whoever goes on from there in their own code."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from clearsight.core.bundle import open_bundle

if TYPE_CHECKING:
    from clearsight.models.network import Network


def load(model: str | Path) -> Network:
    """The network of the run or bundle `model` with its trained weights, in eval mode."""
    from clearsight.models.bundle import load as load_network

    with open_bundle(Path(model)) as bundle:
        network = load_network(bundle)
    network.model.eval()
    return network
