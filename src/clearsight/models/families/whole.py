"""Any other model that ends in one linear classifier: one stage, `backbone`."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, drop_dropout, without
from clearsight.models.network import Stage


class WholeFamily:
    """The last linear layer by name is the classifier (timm: the declared one); all before it is one stage."""

    def recognises(self, model: nn.Module) -> bool:
        return True

    def dissect(self, model: nn.Module) -> Dissection:
        head = classifier_path(model)
        parent, _, name = head.rpartition(".")
        container = model.get_submodule(parent)
        # Elsewhere the order of modules is not the order in which forward calls them.
        if isinstance(container, nn.Sequential):
            names = [child for child, _ in container.named_children()]
            drop_dropout(container, names[max(0, names.index(name) - 1) : names.index(name)])
        return Dissection((Stage("backbone", without(model, head)),), head)


def classifier_path(model: nn.Module) -> str:
    """Return the qualified name of the classifier: declared by timm models, else the last layer with weights."""
    declared = getattr(model, "get_classifier", None)
    if callable(declared):
        layer = declared()
        found: str = next((name for name, module in model.named_modules() if module is layer), "")
        return found
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return layers[-1] if layers else ""


FAMILY = WholeFamily()
