"""Searchers: methods that propose the values of the next trial. One file per searcher, and one line here."""

from __future__ import annotations

from collections.abc import Callable

from clearsight.core.registry import Registry
from clearsight.core.study import Searcher

SEARCHERS = Registry[Callable[[], Searcher]](
    "searcher",
    {
        "tpe": "clearsight.tuning.searchers.tpe:TPE",
        "gp": "clearsight.tuning.searchers.gp:GaussianProcess",
        "random": "clearsight.tuning.searchers.random:Random",
        "grid": "clearsight.tuning.searchers.grid:Grid",
        "qmc": "clearsight.tuning.searchers.qmc:QuasiRandom",
        "cmaes": "clearsight.tuning.searchers.cmaes:CMAES",
        "nsga2": "clearsight.tuning.searchers.nsga2:NSGA2",
        "asha": "clearsight.tuning.searchers.asha:ASHA",
        "hyperband": "clearsight.tuning.searchers.hyperband:Hyperband",
    },
    group="clearsight.searchers",
)
