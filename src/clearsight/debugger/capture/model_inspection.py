"""Layers and parameters of a model as plain facts, by the names that its tensors are saved under."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from clearsight.core.context import LayerInfo, ParameterInfo, RunContext

_KINDS: tuple[tuple[str, tuple[type[nn.Module], ...]], ...] = (
    ("conv", (nn.modules.conv._ConvNd,)),
    ("linear", (nn.Linear, nn.Bilinear)),
    ("norm", (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm)),
    ("relu", (nn.ReLU, nn.ReLU6)),  # ReLU6 is a Hardtanh too: it must come first
    ("sigmoid", (nn.Sigmoid, nn.LogSigmoid, nn.Hardsigmoid)),
    ("tanh", (nn.Tanh, nn.Hardtanh)),
    ("dropout", (nn.modules.dropout._DropoutNd,)),
    ("embedding", (nn.Embedding, nn.EmbeddingBag)),
    ("attention", (nn.MultiheadAttention,)),
)
# Other libraries have classes of their own: timm's BatchNormAct2d, LayerNorm2d, DropPath, SelectAdaptivePool2d.
_WORDS = (
    ("dropout", ("dropout", "droppath", "dropblock", "stochasticdepth")),
    ("pool", ("pool",)),
    ("norm", ("norm",)),
    ("attention", ("attention",)),
    ("conv", ("conv",)),
    ("linear", ("linear",)),
)
_ACTIVATIONS = frozenset(
    (
        *("LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "GLU", "SiLU", "Mish", "Hardswish", "Softplus"),
        *("Softsign", "Softshrink", "Hardshrink", "Tanhshrink", "Threshold", "Softmax", "LogSoftmax", "Softmin"),
        *("GELUTanh", "QuickGELU", "Swish", "HardSwish", "HardMish", "SwishMe", "MishMe", "HardSwishMe"),
    )
)


def kind(module: nn.Module) -> str:
    """What sort of layer a module is, one of the words of LayerFact."""
    for word, classes in _KINDS:
        if isinstance(module, classes):
            return word
    name = type(module).__name__
    if name in _ACTIVATIONS:
        return "activation"
    return next((word for word, parts in _WORDS if any(part in name.lower() for part in parts)), "other")


def leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of everything that computes: modules without children, and norms, once each, in model order.

    A norm counts even where it holds its activation (timm's BatchNormAct2d); an Identity does not.
    """
    for name, module in model.named_modules():
        childless = next(module.children(), None) is None
        if (childless or kind(module) == "norm") and not isinstance(module, nn.Identity):
            yield name, module


def layer_facts(model: nn.Module) -> tuple[LayerInfo, ...]:
    """A fact per leaf module; frozen are those in evaluation mode of which nothing is trained."""
    return tuple(
        LayerInfo(name=name, kind=kind(module), type=type(module).__name__, frozen=_frozen(module))
        for name, module in leaves(model)
    )


def parameter_facts(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> tuple[ParameterInfo, ...]:
    """A fact per parameter, shared ones once, by the first name."""
    held = {id(p) for group in (optimizer.param_groups if optimizer else ()) for p in group["params"]}
    modules = dict(model.named_modules())
    head = head_layer(model)
    facts = []
    for name, parameter in model.named_parameters():
        layer, _, own = name.rpartition(".")
        facts.append(
            ParameterInfo(
                name=name,
                layer=layer,
                shape=tuple(parameter.shape),
                kind=_parameter_kind(modules[layer], own, parameter),
                trainable=parameter.requires_grad,
                optimized=id(parameter) in held,
                head=layer == head,
            )
        )
    return tuple(facts)


def head_layer(model: nn.Module) -> str:
    """Name of the last module that has parameters of its own; "" where the model itself is it, or nothing."""
    own = [name for name, module in model.named_modules() if next(module.parameters(recurse=False), None) is not None]
    return own[-1] if own else ""


def _parameter_kind(module: nn.Module, own: str, parameter: nn.Parameter) -> str:
    if kind(module) == "norm":
        return "norm"
    return "bias" if "bias" in own or parameter.dim() < 2 else "weight"


def _frozen(module: nn.Module) -> bool:
    return not module.training and not any(parameter.requires_grad for parameter in module.parameters())


@dataclass(frozen=True, slots=True)
class InspectedModel:
    """A model under watch, with its wrappers taken off.

    model: the module itself.  entry: where its forward pass can be heard; None where that is compiled in place.
    layers: the leaves that can be heard: those outside of compiled parts.  parameters: by name, shared ones once.
    trainable: those that take gradients.  trained: those that the optimizer holds (trainable, where there is none).
    last: of the trainable ones the last weight.  normed: whether a BatchNorm is in train mode now.
    compiled: whether any part is compiled.  replayable: whether the model can be run again, layer by layer.
    """

    model: nn.Module
    entry: nn.Module | None
    optimizer: torch.optim.Optimizer | None
    layers: tuple[tuple[str, nn.Module], ...]
    parameters: tuple[tuple[str, nn.Parameter], ...]
    trainable: tuple[tuple[str, nn.Parameter], ...]
    trained: tuple[tuple[str, nn.Parameter], ...]
    last: nn.Parameter | None
    compiled: bool
    replayable: bool

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> InspectedModel:
        """What there is to watch of a model: DistributedDataParallel and torch.compile are looked through."""
        inner, entry, wrapped = unwrapped(model)
        hidden = _compiled_parts(inner)
        layers = () if wrapped else tuple((n, m) for n, m in leaves(inner) if not _within(n, hidden))
        parameters = tuple(inner.named_parameters())
        held = {id(p) for group in (optimizer.param_groups if optimizer else ()) for p in group["params"]}
        trainable = tuple((n, p) for n, p in parameters if p.requires_grad)
        weights = [p for n, p in trainable if p.dim() > 1] or [p for _, p in trainable]
        return cls(
            model=inner,
            entry=None if "" in hidden else entry,
            optimizer=optimizer,
            layers=layers,
            parameters=parameters,
            trainable=trainable,
            trained=tuple((n, p) for n, p in trainable if optimizer is None or id(p) in held),
            last=weights[-1] if weights else None,
            compiled=wrapped or bool(hidden),
            replayable=not hidden and not _synchronised(inner),
        )

    @property
    def normed(self) -> bool:
        """Whether a BatchNorm is in train mode now."""
        kind = nn.modules.batchnorm._BatchNorm
        return any(m.training and m.track_running_stats for m in self.model.modules() if isinstance(m, kind))

    def is_bias(self, name: str) -> bool:
        """Whether a parameter is in the collection of biases."""
        return "bias" in name.rpartition(".")[2]

    def name(self, parameter: torch.Tensor) -> str:
        """The parameter's name; "" for one that is not the model's."""
        return next((name for name, own in self.parameters if own is parameter), "")


def unwrapped(model: nn.Module) -> tuple[nn.Module, nn.Module, bool]:
    """The module inside of its wrappers, the one whose call can be heard, and whether that call is compiled."""
    entry = None
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's OptimizedModule
            entry = entry or model
            model = inner
        else:
            return model, entry or model, entry is not None


def _compiled_parts(model: nn.Module) -> tuple[str, ...]:
    """Names of the modules whose inside cannot be heard: compiled in place, or scripts."""
    return tuple(
        name
        for name, module in model.named_modules()
        if getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module, "_orig_mod")
        or isinstance(module, torch.jit.ScriptModule)
    )


def _within(name: str, parts: tuple[str, ...]) -> bool:
    return any(not part or name == part or name.startswith(f"{part}.") for part in parts)


def _synchronised(model: nn.Module) -> bool:
    """Whether a layer waits for other processes, which do not run the model again."""
    return any(isinstance(module, nn.SyncBatchNorm) for module in model.modules())


def describe_model(known: RunContext, watched: InspectedModel, losses: Sequence[nn.Module] = ()) -> RunContext:
    """Facts with what can be told from the model, its optimizer and the loss modules filled in."""
    optimizer = watched.optimizer
    of_weights = getattr(watched.model, "pretrained_cfg", None)  # timm says what its weights expect
    expected = of_weights if isinstance(of_weights, Mapping) and known.pretrained is not False else {}
    return replace(
        known,
        model=type(watched.model).__name__,
        optimizer=type(optimizer).__name__.lower() if optimizer else "",
        lr=float(optimizer.param_groups[-1]["lr"]) if optimizer else 0.0,
        loss=type(losses[0]).__name__ if losses else "",
        weights_mean=known.weights_mean or tuple(expected.get("mean", ())),
        weights_std=known.weights_std or tuple(expected.get("std", ())),
        compiled=watched.compiled,
        layers=layer_facts(watched.model),
        parameters=parameter_facts(watched.model, optimizer),
    )
