"""Submissions to a place: the recipe, space and model of a command, checked here, before the place is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadChoice, BadValue
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.core.settings import declared
from clearsight.core.study import StudyPlan
from clearsight.models.model_names import check_name
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.defaults import unset_fields, weights_path
from clearsight.workflow.prepare.earlier_weights import start_from_earlier
from clearsight.workflow.remote.place import (
    REMOTES,
    RemoteDeployment,
    RemotePlace,
    RemoteResult,
    RemoteTraining,
    RemoteTuning,
    Report,
)
from clearsight.workflow.run.checks import check_start
from clearsight.workflow.run.rules import Trusted, check_debugging, check_recipe_file, code_texts
from clearsight.workflow.study.plan import (
    SpaceSource,
    check_plan,
    objectives_of,
    resolve_freeze,
    searcher_of,
    space_of,
)

_PLAN_FIELDS = frozenset(declared(StudyPlan))
# Settings of a study that belong to machines which clearsight leads itself.
_LOCAL_FIELDS = ("storage", "warm_start", "cpus_per_trial", "gpus_per_trial")


def is_remote(place: str) -> bool:
    """Return True for the name of a place that takes submissions; "local" and addresses of clusters are none."""
    return place in REMOTES.names()


def parse_options(pairs: Sequence[str]) -> dict[str, str]:
    """Return the options of --remote NAME=VALUE; raises BadValue for another form and for a name given twice."""
    options: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not (name and equals and value.strip()):
            raise BadValue(f"--remote {pair}", "must be NAME=VALUE, such as --remote region=eu-west-1")
        if name in options:
            raise BadValue(f"--remote {pair}", f"{name} is given twice", fix="Keep one.")
        options[name] = value.strip()
    return options


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """Dataset and recipe of a command, for a place.

    place: its name.  data: a path, or an address that the place knows.  out: new run folder for the result.
    recipe: YAML file.  settings: recipe fields by name, which override it.  options: those of --remote.
    trusted: as of LaunchContext.
    """

    place: str
    data: str
    out: Path
    paths: Paths
    recipe: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    trusted: Trusted = ()

    def train(self, report: Report) -> RemoteResult:
        """Submit a training and follow it; the run is in `out` when it has ended."""
        remote, recipe = _place(self.place), self._recipe()
        self._check(recipe)
        return remote.train(RemoteTraining(data=self.data, recipe=recipe, out=self.out, options=self.options), report)

    def tune(
        self, report: Report, *, space: SpaceSource, vary: Sequence[str], metric: Sequence[str], plan: Mapping[str, Any]
    ) -> RemoteResult:
        """Submit a search and follow it; the run of the best trial is in `out` when it has ended.

        space, vary, metric: as of `workflow.tune.tune`.  plan: given fields of StudyPlan.
        """
        remote = _place(self.place)
        if unusable := [name for name in _LOCAL_FIELDS if plan.get(name)]:
            flag = "--" + unusable[0].replace("_", "-")
            raise BadValue(flag, "it is for studies that clearsight leads itself", fix=f"Leave out {flag}, or --on.")
        recipe = self._recipe().replace(auto_tune=False, repair=0)
        searched = space_of(vary, space, recipe)
        recipe = resolve_freeze(recipe, searched.names, accelerated=True)
        chosen = {name: value for name, value in plan.items() if value is not None and name != "on"}
        values = {"data": self.data, "space": searched, "objectives": objectives_of(metric, recipe)}
        parsed = StudyPlan.parse({**values, "seed": recipe.train.seed, **chosen})
        if "trials" not in chosen and (size := searcher_of(parsed.searcher).size(searched)) is not None:
            parsed = parsed.replace(trials=size)
        check_plan(parsed)
        if len(parsed.objectives) > 1:
            raise BadValue("--metric", f"a search on {self.place} has a single metric", fix="Keep one.")
        if "monitor" not in searched.names:  # the best epoch of a trial is chosen by the metric that compares trials
            recipe = recipe.replace(monitor=parsed.objectives[0].metric)
        self._check(recipe)
        tuning = RemoteTuning(data=self.data, recipe=recipe, plan=parsed, out=self.out, options=self.options)
        return remote.tune(tuning, report)

    def _recipe(self) -> Recipe:
        base = Recipe.load(self.recipe) if self.recipe is not None else Recipe()
        recipe = base.replace(**{name: value for name, value in self.settings.items() if name not in _PLAN_FIELDS})
        recipe = start_from_earlier(recipe, unset_fields(base) - self.settings.keys(), self.paths.cache)
        if self.recipe is not None:
            check_recipe_file(recipe, self.recipe, self.settings.keys(), self.trusted)
        texts = code_texts(recipe.debug)
        if files := [*texts["rules"], *texts["rule"]]:
            raise BadValue(f"--rule {files[0]}", "files with rules are not submitted", fix="Use rules by their names.")
        return recipe.replace(weights=weights_path(recipe.model.weights))

    def _check(self, recipe: Recipe) -> None:
        if "://" not in self.data:
            check_start(Path(self.data), recipe, Run, self.out)
            return
        Run.check_free(self.out)
        check_name(recipe.model.model)
        check_debugging(recipe.debug)


def deploy_on(place: str, model: Path, name: str, options: Mapping[str, str], report: Report) -> RemoteResult:
    """Serve a run or a bundle at a place; return once its endpoint answers."""
    remote = _place(place)
    if model.is_dir():
        Bundle.open(model)  # raises for one that is damaged, before anything is uploaded
    return remote.deploy(RemoteDeployment(model=model, name=name, options=options), report)


def _place(name: str) -> RemotePlace:
    try:
        return REMOTES.load(name)
    except BadChoice:
        raise BadChoice(f"--on {name}", "no such place", got=name, allowed=("local", *REMOTES.names())) from None
