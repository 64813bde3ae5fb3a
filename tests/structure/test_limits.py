"""Limits on the names and the structure of the source tree.

`python tests/structure/measure.py --offenders` lists every case.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.structure import measure
from tests.structure.measure import Module, Occurrence

SRC = Path(__file__).parents[2] / "src"
_NOTEBOOK_UTILS = "clearsight_sagemaker/smdebug_distribution/smdebug/profiler/analysis/notebook_utils"

# Modules under 40 lines, or folders of them, each with its reason. An entry without such a module fails too.
SMALL_MODULES: dict[str, str] = {
    "clearsight/cli/commands/undeploy.py": "one command per file",
    "clearsight/core/statistics.py": "the interval that rules and reports share, which do not import each other",
    "clearsight/models/families": "registry: one model family per file",
    "clearsight/profiler/external/layout.py": "file names alone: every Python process of a profiled command loads them",
    "clearsight/reports/kit/thumbnail.py": "the only part of a page that needs Pillow",
    "clearsight/reports/run/page.py": "one page per package of reports, as in the other three",
    "clearsight/serving/codecs": "registry: one payload codec per file",
    "clearsight/tuning/analysis/savings.py": "one analysis of a study per file",
    "clearsight/tuning/searchers": "registry: one searcher per file",
    "clearsight/workflow/report.py": "one verb per file",
    "clearsight_sagemaker/endpoints/event_stream.py": "a wire format of AWS, and no more",
    "clearsight_sagemaker/remote/container": "one program of a container per file",
    "clearsight_sagemaker/smdebug_folder.py": "one constant that jobs, rules and clients have in common",
    "clearsight_sagemaker/training/job_site": "the name that Python loads, and no more",
    "clearsight_sagemaker/training/job_site/clearsight_job": "one hook per file, imported when torch is",
    "clearsight_sagemaker/training/job_site/when_missing/sagemaker_inference": "names that scripts import",
    _NOTEBOOK_UTILS: "one import path per chart",
}

# Names that the distribution `smdebug` has in common with ours: scripts import them.
SMDEBUG_NAMES = {"Hook", "Rule", "TrainingJob", "Trial"}


@pytest.fixture(scope="module")
def modules() -> list[Module]:
    return measure.read_modules(SRC)


def listing(occurrences: Sequence[Occurrence], most: int = 40) -> str:
    """Return the first occurrences, one per line, for the message of a failed test."""
    lines = [str(occurrence) for occurrence in occurrences[:most]]
    more = [f"... and {len(occurrences) - most} more"] if len(occurrences) > most else []
    return "\n".join([f"{len(occurrences)} found:", *lines, *more])


def test_public_class_names_are_unique(modules: list[Module]) -> None:
    duplicates = measure.duplicate_classes(modules)
    of_smdebug = {name for name, owners in duplicates.items() if len(owners) == 2 and ".smdebug." in owners[1]}
    assert duplicates.keys() - (SMDEBUG_NAMES & of_smdebug) == set()
    assert of_smdebug >= SMDEBUG_NAMES, "exceptions for names that are gone"


def test_names_are_field_words(modules: list[Module]) -> None:
    banned = measure.collect(modules, measure.banned_names)
    assert len(banned) < 0.005 * len(measure.collect(modules, measure.bound_names)), listing(banned)


def test_allowed_names_exist(modules: list[Module]) -> None:
    bound = {module.path: {name.text for name in measure.bound_names(module)} for module in modules}
    unused = {path: names for path, (names, _) in measure.ALLOWED.items() if not {*names.split()} <= bound[path]}
    assert unused == {}, "exceptions for names that are gone"


def test_module_names_are_field_words(modules: list[Module]) -> None:
    assert measure.banned_module_names(modules) == []


def test_docstrings_begin_with_a_verb_or_a_noun(modules: list[Module]) -> None:
    openings = measure.collect(modules, measure.banned_openings)
    assert len(openings) < 0.02 * len(measure.collect(modules, measure.docstring_openings)), listing(openings)


def test_folders_hold_at_most_20_modules(modules: list[Module]) -> None:
    assert measure.full_folders(modules) == {}


def test_files_have_at_most_400_lines(modules: list[Module]) -> None:
    assert measure.long_files(modules) == {}


def test_small_modules_have_a_reason(modules: list[Module]) -> None:
    small = measure.small_modules(modules)
    explained = {path: {path, Path(path).parent.as_posix()} & SMALL_MODULES.keys() for path in small}
    assert {path: lines for path, lines in small.items() if not explained[path]} == {}
    assert SMALL_MODULES.keys() - set().union(*explained.values()) == set(), "reasons that no small module needs"


def test_few_handlers_catch_everything(modules: list[Module]) -> None:
    """Only `core/guard.py` and the edges of processes need one. Handlers that clean up and raise again do not count."""
    handlers = [handler for module in modules for handler in measure.broad_handlers(module, with_cleanup=False)]
    assert len(handlers) <= 20, listing(handlers)


def test_imports_form_no_ring(modules: list[Module]) -> None:
    assert measure.import_rings(measure.import_graph(modules)) == []


def test_classes_have_at_most_15_attributes(modules: list[Module]) -> None:
    wide = measure.collect(modules, measure.wide_classes)
    assert wide == [], listing(wide)
