"""From a recipe to the network it asks for, with the preprocessing that belongs to its weights."""

from __future__ import annotations

from pydantic import ValidationError

from clearsight.core.errors import BadValue
from clearsight.core.preprocess import Preprocess
from clearsight.core.recipe import DataSection, Recipe
from clearsight.models.network import Network
from clearsight.models.zoo import ModelSpec, build
from clearsight.workflow.paths import Paths


def build_network(recipe: Recipe, classes: int, places: Paths) -> Network:
    """The recipe's network for `classes` classes, with the preprocessing of its weights."""
    how = recipe.model
    spec = ModelSpec(
        model=how.model,
        classes=classes,
        head=how.head,
        dropout=how.dropout,
        weights=how.weights,
        seed=recipe.train.seed,
    )
    return build(spec, folders=places.weights)


def overridden(preprocess: Preprocess, how: DataSection) -> Preprocess:
    """The weights' preprocessing with what the recipe says put over it; a new size keeps the share that is cropped."""
    changes: dict[str, object] = {}
    if how.image_size is not None and how.image_size != preprocess.size:
        share = preprocess.resize / preprocess.size
        changes |= {"size": how.image_size, "resize": round(how.image_size * share)}
    for name in ("mean", "std", "interpolation"):
        if (said := getattr(how, name)) is not None:
            changes[name] = said
    if not changes:
        return preprocess
    source = f"{preprocess.source}; {', '.join(sorted(changes))} from the recipe"
    try:
        return Preprocess.model_validate({**preprocess.model_dump(), **changes, "source": source})
    except ValidationError as error:
        raise BadValue("preprocessing", error.errors()[0]["msg"].removeprefix("Value error, ")) from None
