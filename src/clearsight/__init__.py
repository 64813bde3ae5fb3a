"""clearsight: fine-tune, debug, evaluate and serve image classifiers on your own machine.

Public names are imported on first use, so `import clearsight` loads neither torch nor any other large package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clearsight.api.deployment import benchmark as benchmark
    from clearsight.api.deployment import export as export
    from clearsight.api.deployment import load as load
    from clearsight.api.deployment import models as models
    from clearsight.api.deployment import predict as predict
    from clearsight.api.deployment import serve as serve
    from clearsight.api.deployment import transform as transform
    from clearsight.api.endpoints import deploy as deploy
    from clearsight.api.endpoints import endpoint as endpoint
    from clearsight.api.inspection import compare as compare
    from clearsight.api.inspection import data as data
    from clearsight.api.inspection import debug as debug
    from clearsight.api.inspection import evaluate as evaluate
    from clearsight.api.inspection import open_run as open_run
    from clearsight.api.inspection import open_study as open_study
    from clearsight.api.inspection import profile as profile
    from clearsight.api.inspection import report as report
    from clearsight.api.training import resume as resume
    from clearsight.api.training import train as train
    from clearsight.api.training import tune as tune
    from clearsight.core.bundle import Bundle as Bundle
    from clearsight.core.errors import ClearsightError as ClearsightError
    from clearsight.core.finding import Finding as Finding
    from clearsight.core.recipe import Recipe as Recipe
    from clearsight.core.rule import Needs as Needs
    from clearsight.core.rule import Rule as Rule
    from clearsight.core.settings import setting as knob  # noqa: F401 - the name in version 0.1
    from clearsight.core.settings import setting as setting
    from clearsight.debugger.hook import Hook as Hook
    from clearsight.workflow.results.run import TrainedRun as Run  # noqa: F401 - the name of every version

# Name -> module:attribute. The imports above are for type checkers alone and list the same names.
_PUBLIC = {
    "Bundle": "clearsight.core.bundle:Bundle",
    "ClearsightError": "clearsight.core.errors:ClearsightError",
    "Finding": "clearsight.core.finding:Finding",
    "Hook": "clearsight.debugger.hook:Hook",
    "Needs": "clearsight.core.rule:Needs",
    "Recipe": "clearsight.core.recipe:Recipe",
    "Rule": "clearsight.core.rule:Rule",
    "Run": "clearsight.workflow.results.run:TrainedRun",
    "benchmark": "clearsight.api.deployment:benchmark",
    "compare": "clearsight.api.inspection:compare",
    "data": "clearsight.data",
    "debug": "clearsight.api.inspection:debug",
    "deploy": "clearsight.api.endpoints:deploy",
    "endpoint": "clearsight.api.endpoints:endpoint",
    "evaluate": "clearsight.api.inspection:evaluate",
    "export": "clearsight.api.deployment:export",
    "knob": "clearsight.core.settings:setting",
    "load": "clearsight.api.deployment:load",
    "models": "clearsight.models",
    "open_run": "clearsight.api.inspection:open_run",
    "open_study": "clearsight.api.inspection:open_study",
    "predict": "clearsight.api.deployment:predict",
    "profile": "clearsight.api.inspection:profile",
    "report": "clearsight.api.inspection:report",
    "resume": "clearsight.api.training:resume",
    "serve": "clearsight.api.deployment:serve",
    "setting": "clearsight.core.settings:setting",
    "train": "clearsight.api.training:train",
    "transform": "clearsight.api.deployment:transform",
    "tune": "clearsight.api.training:tune",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    imported = importlib.import_module(module)
    # data and models are packages too: both names mean the package, which can be called.
    return getattr(imported, attribute) if attribute else imported


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])  # with the names that are not imported yet
