"""Arguments that the calls from Python share: settings as keywords, runs in place of their folders."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pydantic.fields import FieldInfo

from clearsight.core.errors import BadValue
from clearsight.core.recipe import fields
from clearsight.core.settings import declared, flag, further_flags, meaning
from clearsight.core.study import StudyPlan

Function = TypeVar("Function", bound=Callable[..., Any])


def with_settings(settings: type) -> Callable[[Function], Function]:
    """Return a decorator that lists settings in the signature and in the docstring of a function.

    settings: the TypedDict of its keyword arguments, which type checkers and editors read; this is for `help`, for
    Jupyter and for completion in a running session.
    """

    def listed(function: Function) -> Function:
        infos, hints = _declared(), get_type_hints(settings)
        signature = inspect.signature(function)
        kept = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
        more = [
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=infos[name].get_default(), annotation=hints[name]
            )
            for name in hints
        ]
        function.__signature__ = signature.replace(parameters=[*kept, *more])  # type: ignore[attr-defined]
        lines = "\n".join(f"    {name}: {meaning(infos[name])}." for name in hints)
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nSettings:\n{lines}\n"
        return function

    return listed


def named_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by their names: those that are given by the name of their flag are renamed.

    `search="random"` is `searcher`, `learning_rate=1e-3` is `lr`, as on the command line.
    Raises BadValue for a setting that is given by two names.
    """
    by_flag = {
        spelling.lstrip("-").replace("-", "_"): name
        for name, info in _declared().items()
        for spelling in (flag(name, info), *further_flags(info))
        if len(spelling) > 2  # -m and -b are for the command line alone
    }
    named: dict[str, Any] = {}
    for key, value in settings.items():
        name = by_flag.get(key, key)
        if name in named:
            raise BadValue(key, f"set twice, as {key} and as {name}", fix="Keep one of them.")
        named[name] = value
    return named


def path_of(value: Any, *parents: str) -> Path:
    """Return the folder of a run, a study or anything else with a `path`; of text or a path that path.

    parents: "runs", "studies"; "last" is the newest one in them, as on the command line.
    """
    # A bundle, a run and a saved run know their folder.
    path = getattr(value, "path", value) if not isinstance(value, str | Path) else value
    if not isinstance(path, str | Path):
        raise BadValue(repr(value)[:80], "must be a folder, a file or a run")
    if parents and str(path) == "last" and not Path("last").exists():
        from clearsight.workflow.paths import latest  # it reads bundles

        return latest(parents)
    return Path(path).expanduser()


def texts_of(value: str | Path | Iterable[str | Path] | None) -> list[str]:
    """Return a single text or path as a list of one, several as a list; [] for None."""
    if value is None:
        return []
    return [str(value)] if isinstance(value, str | Path) else [str(one) for one in value]


def names_of(value: str | Iterable[str]) -> list[str]:
    """Return names of settings: those of a text are separated by commas, as after --tune; hyphens count as "_"."""
    parts = value.split(",") if isinstance(value, str) else list(value)
    return [part.strip().replace("-", "_") for part in parts if part.strip()]


def _declared() -> dict[str, FieldInfo]:
    return {**declared(StudyPlan), **{name: info for _, name, info in fields()}}
