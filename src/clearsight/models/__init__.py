"""Model zoo: families, stages, heads, weights, export. Called, it lists the models."""

from clearsight.core.registry import make_callable

make_callable(__name__, "clearsight.api.deployment:models")
