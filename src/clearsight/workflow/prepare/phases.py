"""What trains when: the phases of a run, with images or with cached features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from clearsight.models.freeze import freeze
from clearsight.models.network import Network, parameter_groups
from clearsight.training.job import Phase
from clearsight.training.optim import ParameterGroup
from clearsight.workflow.prepare.cacheable import uncacheable
from clearsight.workflow.prepare.feature_batches import feature_batches
from clearsight.workflow.prepare.image_batches import image_batches
from clearsight.workflow.prepare.setup import RunSetup


def build_phases(setting: RunSetup) -> list[Phase]:
    """One phase, or two when the recipe trains the head first; what is frozen is computed once where possible."""
    how = setting.recipe
    head_epochs = min(how.train.head_epochs, how.train.passes)
    wanted = freeze(setting.network, how.model.freeze)
    everything = wanted.cut == len(setting.network.stages)
    phases = []
    if head_epochs and not everything:
        rate = how.optim.head_lr or how.optim.peak
        phases.append(_phase(setting, "head", "backbone", head_epochs, head_factor=rate / how.optim.peak))
    rest = how.train.passes - sum(phase.epochs for phase in phases)
    if rest:
        name = "head" if everything else "all" if not wanted.cut else f"from {setting.network.stages[wanted.cut].name}"
        factor = how.optim.backbone_lr_factor if phases else 1.0
        phases.append(_phase(setting, name, how.model.freeze, rest, backbone_factor=factor))
    return phases


def _phase(
    setting: RunSetup, name: str, freezing: str, epochs: int, *, backbone_factor: float = 1.0, head_factor: float = 1.0
) -> Phase:
    network = setting.network
    frozen = freeze(network, freezing)
    cached = not uncacheable(setting.recipe, frozen.cut)
    if cached:
        model: nn.Module = network.suffix(frozen.cut)
        train, valid = feature_batches(setting, frozen)
    else:
        model = network.model
        train, valid = image_batches(setting, setting.train, "train"), None
        if len(setting.valid):
            valid = image_batches(setting, setting.valid, "eval")

    def enter() -> Sequence[ParameterGroup]:
        freeze(network, freezing)
        return _groups(network, backbone_factor, head_factor)

    def train_mode() -> None:
        model.train()
        frozen.train_mode()

    return Phase(
        name=name,
        epochs=epochs,
        model=model,
        train=train,
        valid=valid,
        enter=enter,
        train_mode=train_mode,
        cached=cached,
    )


def _groups(network: Network, backbone_factor: float, head_factor: float) -> list[ParameterGroup]:
    """Backbone and head, each in weights that decay and biases and norms that do not."""
    parts = ((network.prefix(len(network.stages)), backbone_factor), (network.head, head_factor))
    return [{**group, "lr_factor": factor} for part, factor in parts for group in parameter_groups(part, 1.0)]
