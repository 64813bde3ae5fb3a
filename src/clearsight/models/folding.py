"""Folding of BatchNorm into the convolution before it: the same function in eval mode, with fewer operations."""

from __future__ import annotations

from typing import Any, cast

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class _Tracer(fx.Tracer):
    """Tracer that takes norms with an activation inside (timm) as one node: they are folded as a whole."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, nn.BatchNorm2d) or super().is_leaf_module(m, module_qualified_name)


def fold(module: nn.Module) -> nn.Module:
    """Return `module` (in eval mode) with each BatchNorm folded into the convolution that feeds only it.

    The argument is changed and must not be used any more. Raises what torch.fx raises for a forward that it cannot
    trace (control flow on values): TraceError, a ValueError, or a TypeError, RuntimeError or AttributeError.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks", section 3.2.
    """
    tracer = _Tracer()
    graph = tracer.trace(module)
    traced = fx.GraphModule(tracer.root, graph)
    parts = dict(traced.named_modules())
    for node in list(graph.nodes):
        norm, feeder = parts.get(str(node.target)), node.args[0] if node.args else None
        if node.op != "call_module" or not isinstance(norm, nn.BatchNorm2d):
            continue
        if not isinstance(feeder, fx.Node) or feeder.op != "call_module" or len(feeder.users) > 1:
            continue  # another user of the convolution would see the folded values
        convolution = parts.get(str(feeder.target))
        if isinstance(convolution, nn.Conv2d) and norm.track_running_stats:
            _put(traced, str(feeder.target), fuse_conv_bn_eval(convolution, norm))
            _put(traced, str(node.target), _afterwards(norm))
    traced.recompile()
    return traced


def _afterwards(norm: nn.Module) -> nn.Module:
    # timm's BatchNormAct2d; a plain BatchNorm2d has neither.
    parts = [cast(Any, norm)._modules.get(name) for name in ("drop", "act")]
    return nn.Sequential(*(part for part in parts if part is not None))


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    root.get_submodule(parent).add_module(name, module)
