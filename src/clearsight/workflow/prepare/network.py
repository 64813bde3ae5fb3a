"""The network of a recipe, with the preprocessing that belongs to its weights."""

from __future__ import annotations

from pydantic import ValidationError

from clearsight.core.errors import BadValue
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import DataSection, Recipe
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build
from clearsight.workflow.paths import Paths


def build_network(recipe: Recipe, classes: int, paths: Paths) -> Network:
    """Return the recipe's network for `classes` classes, with the preprocessing of its weights."""
    spec = ModelSpec(
        model=recipe.model.model,
        classes=classes,
        head=recipe.model.head,
        dropout=recipe.model.dropout,
        weights=recipe.model.weights,
        seed=recipe.train.seed,
    )
    return build(spec, folders=paths.weights)


def override_preprocess(preprocess: Preprocess, section: DataSection) -> Preprocess:
    """Return the weights' preprocessing with the recipe's settings over it. Raises BadValue for impossible values."""
    changes: dict[str, object] = {}
    if section.image_size is not None and section.image_size != preprocess.size:
        # A new size keeps the share of the image that is cropped away: the weights were trained at that zoom.
        share = preprocess.resize / preprocess.size
        changes |= {"size": section.image_size, "resize": round(section.image_size * share)}
    for name in ("mean", "std", "interpolation"):
        if (value := getattr(section, name)) is not None:
            changes[name] = value
    if not changes:
        return preprocess
    source = f"{preprocess.source}; {', '.join(sorted(changes))} from the recipe"
    try:
        return Preprocess.model_validate({**preprocess.model_dump(), **changes, "source": source})
    except ValidationError as error:
        raise BadValue("preprocessing", error.errors()[0]["msg"].removeprefix("Value error, ")) from None
