"""clearsight: fine-tune, debug, evaluate and serve image classifiers on your own machine.

Public names are imported on first use, so `import clearsight` loads neither torch nor any other large package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from clearsight.core.bundle import Bundle as Bundle
    from clearsight.core.errors import ClearsightError as ClearsightError
    from clearsight.core.finding import Finding as Finding
    from clearsight.core.recipe import Recipe as Recipe
    from clearsight.core.rule import Needs as Needs
    from clearsight.core.rule import Rule as Rule
    from clearsight.core.run import Run as Run
    from clearsight.core.settings import setting as knob  # noqa: F401 - the name in version 0.1
    from clearsight.core.settings import setting as setting
    from clearsight.debugger.hook import Hook as Hook
    from clearsight.workflow.debug import debug as debug
    from clearsight.workflow.evaluate import evaluate as evaluate
    from clearsight.workflow.open import load as load
    from clearsight.workflow.open import open_run as open_run
    from clearsight.workflow.open import open_study as open_study
    from clearsight.workflow.predict import predict as predict
    from clearsight.workflow.profile import profile as profile
    from clearsight.workflow.train import train as train
    from clearsight.workflow.tune import tune as tune

# Name -> module:attribute. The imports above are for type checkers alone and list the same names.
_PUBLIC = {
    "Bundle": "clearsight.core.bundle:Bundle",
    "ClearsightError": "clearsight.core.errors:ClearsightError",
    "Finding": "clearsight.core.finding:Finding",
    "Hook": "clearsight.debugger.hook:Hook",
    "Needs": "clearsight.core.rule:Needs",
    "Recipe": "clearsight.core.recipe:Recipe",
    "Rule": "clearsight.core.rule:Rule",
    "Run": "clearsight.core.run:Run",
    "debug": "clearsight.workflow.debug:debug",
    "evaluate": "clearsight.workflow.evaluate:evaluate",
    "knob": "clearsight.core.settings:setting",
    "load": "clearsight.workflow.open:load",
    "open_run": "clearsight.workflow.open:open_run",
    "open_study": "clearsight.workflow.open:open_study",
    "predict": "clearsight.workflow.predict:predict",
    "profile": "clearsight.workflow.profile:profile",
    "setting": "clearsight.core.settings:setting",
    "train": "clearsight.workflow.train:train",
    "tune": "clearsight.workflow.tune:tune",
}

__all__ = [*_PUBLIC, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, attribute = _PUBLIC[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])  # with the names that are not imported yet
