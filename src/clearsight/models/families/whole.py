"""Any other model that ends in one linear classifier: one stage, `backbone`."""

from __future__ import annotations

from torch import nn

from clearsight.models.dissection import Dissection, drop_dropout, without


def dissect(model: nn.Module) -> Dissection:
    """Return all before the last linear layer by name (timm: the declared one) as one stage."""
    head = classifier_path(model)
    parent, _, name = head.rpartition(".")
    container = model.get_submodule(parent)
    # Elsewhere the order of modules is not the order in which forward calls them.
    if isinstance(container, nn.Sequential):
        names = [child for child, _ in container.named_children()]
        drop_dropout(container, names[max(0, names.index(name) - 1) : names.index(name)])
    return Dissection.of({"backbone": without(model, head)}, head)


def classifier_path(model: nn.Module) -> str:
    """Return the qualified name of the classifier: declared by timm models, else the last layer with weights."""
    declared = getattr(model, "get_classifier", None)
    if callable(declared):
        layer = declared()
        return next((name for name, module in model.named_modules() if module is layer), "")
    layers = [name for name, module in model.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return layers[-1] if layers else ""
