"""InspectedModel: layers and parameters of a model, by the names under which its tensors are saved."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from clearsight.core.context import LayerInfo, OptimizerInfo, ParameterInfo, RunContext

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
_SLOW = 0.05  # of the highest rate of an optimizer's groups
_ACTIVATIONS = frozenset(
    (
        *("LeakyReLU", "PReLU", "RReLU", "ELU", "CELU", "SELU", "GELU", "GLU", "SiLU", "Mish", "Hardswish", "Softplus"),
        *("Softsign", "Softshrink", "Hardshrink", "Tanhshrink", "Threshold", "Softmax", "LogSoftmax", "Softmin"),
        *("GELUTanh", "QuickGELU", "Swish", "HardSwish", "HardMish", "SwishMe", "MishMe", "HardSwishMe"),
    )
)


def kind(module: nn.Module) -> str:
    """Return the kind of a layer, one of the words of LayerInfo."""
    for word, classes in _KINDS:
        if isinstance(module, classes):
            return word
    name = type(module).__name__
    if name in _ACTIVATIONS:
        return "activation"
    return next((word for word, parts in _WORDS if any(part in name.lower() for part in parts)), "other")


def leaves(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield name and module of everything that computes: modules without children, and norms, in model order, once.

    A norm counts even where it holds its activation (timm's BatchNormAct2d); an Identity does not.
    """
    for name, module in model.named_modules():
        childless = next(module.children(), None) is None
        if (childless or kind(module) == "norm") and not isinstance(module, nn.Identity):
            yield name, module


def layer_infos(model: nn.Module) -> tuple[LayerInfo, ...]:
    """Return every leaf module; frozen are those in evaluation mode without a trainable parameter."""

    def is_frozen(module: nn.Module) -> bool:
        return not module.training and not any(parameter.requires_grad for parameter in module.parameters())

    return tuple(
        LayerInfo(
            name=name, kind=kind(module), type=type(module).__name__, frozen=is_frozen(module), rate=_rate(module)
        )
        for name, module in leaves(model)
    )


def _rate(module: nn.Module) -> float:
    rate: object = 0.0
    if isinstance(module, nn.modules.dropout._DropoutNd):
        rate = module.p
    elif isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
        rate = module.momentum
    return float(rate) if isinstance(rate, (int, float)) else 0.0


def optimizer_info(optimizer: torch.optim.Optimizer | None) -> OptimizerInfo:
    """Return the settings of the group that holds the most numbers."""
    if optimizer is None or not optimizer.param_groups:
        return OptimizerInfo()
    group = max(optimizer.param_groups, key=lambda group: sum(p.numel() for p in group["params"]))
    momentum = group.get("momentum", (group.get("betas") or (0.0,))[0])
    decoupled = group.get("decoupled_weight_decay", type(optimizer).__name__.lower().startswith(("adamw", "lion")))
    return OptimizerInfo(
        weight_decay=float(group.get("weight_decay") or 0.0),
        decoupled=bool(decoupled),
        momentum=float(momentum or 0.0),
        eps=float(group.get("eps") or 0.0),
        slow_share=_slow_share(optimizer),
        maximize=bool(group.get("maximize", False)),
    )


def _slow_share(optimizer: torch.optim.Optimizer) -> float:
    """Return the share of the numbers whose group has less than a twentieth of the highest rate, and more than 0."""
    rates = [float(group["lr"]) for group in optimizer.param_groups]
    sizes = [sum(p.numel() for p in group["params"]) for group in optimizer.param_groups]
    slow = sum(size for rate, size in zip(rates, sizes, strict=True) if 0 < rate < _SLOW * max(rates))
    return float(slow / max(1, sum(sizes)))


def parameter_infos(model: nn.Module, optimizer: torch.optim.Optimizer | None) -> tuple[ParameterInfo, ...]:
    """Return every parameter, shared ones once, by their first name."""
    optimized, modules = _optimized(optimizer), dict(model.named_modules())
    # The head is the last module with parameters of its own, perhaps the model itself (""): the order of named_modules
    # is that of definition, in which the classifier comes last.
    owners = [name for name, module in modules.items() if next(module.parameters(recurse=False), None) is not None]
    infos = []
    for name, parameter in model.named_parameters():
        layer, _, attribute = name.rpartition(".")
        # Vectors that are no bias (a layer scale, a class token) are treated like one.
        word = "bias" if "bias" in attribute or parameter.dim() < 2 else "weight"
        infos.append(
            ParameterInfo(
                name=name,
                layer=layer,
                shape=tuple(parameter.shape),
                kind="norm" if kind(modules[layer]) == "norm" else word,
                trainable=parameter.requires_grad,
                optimized=id(parameter) in optimized,
                head=layer == owners[-1],
            )
        )
    return tuple(infos)


def _optimized(optimizer: torch.optim.Optimizer | None) -> set[int]:
    # By identity: comparing tensors compares their elements.
    return {id(p) for group in (optimizer.param_groups if optimizer else ()) for p in group["params"]}


def takes_gradient(parameter: nn.Parameter) -> bool:
    """Return True unless a parameter is frozen now: a loop may freeze layers at any time."""
    return parameter.requires_grad


def _held(
    trainable: Sequence[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer | None
) -> tuple[tuple[str, nn.Parameter], ...]:
    """Return those that the optimizer holds; all where there is none."""
    optimized = _optimized(optimizer)
    return tuple((name, p) for name, p in trainable if optimizer is None or id(p) in optimized)


@dataclass(frozen=True, slots=True)
class InspectedModel:
    """A model that is observed, without its wrappers.

    model: the module itself.  entry: the module whose forward pass can be hooked; None where it is compiled in place.
    layers: the leaves that can be hooked: those outside of compiled parts.  parameters: by name, shared ones once.
    trainable: those that take gradients.  trained: those that the optimizer holds (trainable, where there is none).
    frozen: those that took none when the model was inspected first.
    last: the last trainable weight.  compiled: True if any part is compiled.  replayable: True if the model can be run
    again, layer by layer.
    """

    model: nn.Module
    entry: nn.Module | None
    optimizer: torch.optim.Optimizer | None
    layers: tuple[tuple[str, nn.Module], ...]
    parameters: tuple[tuple[str, nn.Parameter], ...]
    trainable: tuple[tuple[str, nn.Parameter], ...]
    trained: tuple[tuple[str, nn.Parameter], ...]
    frozen: tuple[nn.Parameter, ...]
    last: nn.Parameter | None
    compiled: bool
    replayable: bool

    @classmethod
    def of(cls, model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> InspectedModel:
        """Inspect a model; DistributedDataParallel and torch.compile are taken off."""
        inner, entry, wrapped = unwrapped(model)
        hidden = _compiled_parts(inner)
        layers = () if wrapped else tuple((n, m) for n, m in leaves(inner) if not _within(n, hidden))
        # SyncBatchNorm waits for other processes, which do not run the model again.
        is_synchronised = any(isinstance(module, nn.SyncBatchNorm) for module in inner.modules())
        parameters = tuple(inner.named_parameters())
        trainable = tuple((n, p) for n, p in parameters if p.requires_grad)
        weights = [p for n, p in trainable if p.dim() > 1] or [p for _, p in trainable]
        return cls(
            model=inner,
            entry=None if "" in hidden else entry,
            optimizer=optimizer,
            layers=layers,
            parameters=parameters,
            trainable=trainable,
            trained=_held(trainable, optimizer),
            frozen=tuple(p for _, p in parameters if not p.requires_grad),
            last=weights[-1] if weights else None,
            compiled=wrapped or bool(hidden),
            replayable=not hidden and not is_synchronised,
        )

    def with_optimizer(self, optimizer: torch.optim.Optimizer) -> InspectedModel:
        """Return the same model with another optimizer, and with the parameters that take gradients now."""
        # Fine-tuning often unfreezes layers where it makes its second optimizer.
        trainable = tuple((name, p) for name, p in self.parameters if p.requires_grad)
        return replace(self, optimizer=optimizer, trainable=trainable, trained=_held(trainable, optimizer))

    def holds(self, parameter: nn.Parameter) -> bool:
        """Return True if the optimizer holds a parameter, or where there is none."""
        return self.optimizer is None or id(parameter) in _optimized(self.optimizer)

    @property
    def sampled(self) -> tuple[nn.Parameter, ...]:
        """Return the last trainable weight and, of a known optimizer, its first and its middle one."""
        weights = [p for _, p in self.trained if p.dim() > 1] if self.optimizer is not None else []
        more = [p for p in (*weights[:1], *weights[len(weights) // 2 :][:1]) if p is not self.last]
        unique = list({id(p): p for p in more}.values())
        return (*(() if self.last is None else (self.last,)), *unique)

    @property
    def normed(self) -> bool:
        """Return True if a BatchNorm is in train mode now."""
        kind = nn.modules.batchnorm._BatchNorm
        return any(m.training and m.track_running_stats for m in self.model.modules() if isinstance(m, kind))

    def name(self, parameter: torch.Tensor) -> str:
        """Return the parameter's name; "" for one of another model."""
        return next((name for name, candidate in self.parameters if candidate is parameter), "")


def unwrapped(model: nn.Module) -> tuple[nn.Module, nn.Module, bool]:
    """Return the module inside of its wrappers, the one whose call can be hooked, and True if that call is compiled."""
    entry = None
    # In a loop, because compilation and distribution are applied in either order.
    while True:
        if isinstance(model, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):  # torch.compile's OptimizedModule
            entry = entry or model
            model = inner
        else:
            return model, entry or model, entry is not None


def _compiled_parts(model: nn.Module) -> tuple[str, ...]:
    """Return the names of modules whose inside cannot be hooked: compiled in place, or scripts."""
    return tuple(
        name
        for name, module in model.named_modules()
        if getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module, "_orig_mod")
        or isinstance(module, torch.jit.ScriptModule)
    )


def _within(name: str, parts: tuple[str, ...]) -> bool:
    return any(not part or name == part or name.startswith(f"{part}.") for part in parts)


def describe_model(context: RunContext, inspected: InspectedModel, losses: Sequence[nn.Module] = ()) -> RunContext:
    """Return the context with what the model, its optimizer and the loss modules show."""
    # timm: of the published weights. It stays on the model when other weights are loaded into it.
    config = getattr(inspected.model, "pretrained_cfg", None)
    expected = config if isinstance(config, Mapping) and context.pretrained is not False else {}
    described = replace(
        context,
        model=type(inspected.model).__name__,
        loss=type(losses[0]).__name__ if losses else "",
        usual_mean=tuple(expected.get("mean", ())),
        usual_std=tuple(expected.get("std", ())),
        compiled=inspected.compiled,
        layers=layer_infos(inspected.model),
    )
    return describe_optimizer(described, inspected)


def with_optimized(context: RunContext, inspected: InspectedModel, optimizer: torch.optim.Optimizer) -> RunContext:
    """Return the context with the parameters that one more optimizer holds; the same where that is nothing new."""
    optimized = _optimized(optimizer)
    names = {name for name, parameter in inspected.parameters if id(parameter) in optimized}
    if not any(info.name in names and not info.optimized for info in context.parameters):
        return context
    infos = (replace(info, optimized=info.optimized or info.name in names) for info in context.parameters)
    return replace(context, parameters=tuple(infos))


def describe_optimizer(context: RunContext, inspected: InspectedModel) -> RunContext:
    """Return the context with what the model's optimizer shows, and which parameters it holds."""
    optimizer = inspected.optimizer
    return replace(
        context,
        optimizer=type(optimizer).__name__.lower() if optimizer else "",
        lr=float(optimizer.param_groups[-1]["lr"]) if optimizer else 0.0,
        parameters=parameter_infos(inspected.model, optimizer),
        update=optimizer_info(optimizer),
    )
