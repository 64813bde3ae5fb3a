"""data, debug, evaluate, profile, compare, report and the opening of what is saved, from Python."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from clearsight.api.settings import DataSettings
from clearsight.api.signature import named_settings, path_of, texts_of, with_settings
from clearsight.core.errors import BadChoice, BadValue

if TYPE_CHECKING:  # they load Rich, plotly or torch
    from clearsight.workflow.audit import AuditResult
    from clearsight.workflow.compare import Comparison
    from clearsight.workflow.debug import Diagnosis
    from clearsight.workflow.display.notebook import Show
    from clearsight.workflow.open import SavedStudy
    from clearsight.workflow.profile import Profiling
    from clearsight.workflow.results.saved import OpenedRun
    from clearsight.workflow.run.evaluation import Evaluation


@with_settings(DataSettings)
def data(
    path: str | Path,
    *,
    label_errors: bool = False,
    model: str | None = None,
    weights: str | Path | None = None,
    seed: int = 0,
    progress: Show = "auto",
    **settings: Unpack[DataSettings],
) -> AuditResult:
    """Check the dataset at `path`: counts, imbalance, sizes, unreadable images, duplicates, leaks between splits.

    label_errors: check the labels too, by the features of `model` with `weights`, as in `train`.
    seed: of splits and samples, if the data do not define them.  progress: True shows bars and the result, False
    nothing; "auto" in a terminal and in Jupyter.
    """
    from clearsight.workflow.audit import audit
    from clearsight.workflow.display.notebook import output_of, show_result
    from clearsight.workflow.display.text import audit_lines
    from clearsight.workflow.paths import Paths

    output, values = output_of(progress), named_settings(settings)
    network = {"model": model, "weights": None if weights is None else str(weights)}
    values |= {name: value for name, value in network.items() if value is not None}
    with output.working():
        paths = Paths.of(os.environ)
        audited = audit(path, paths=paths, progress=output.progress, seed=seed, label_errors=label_errors, **values)
    show_result(output, progress, audit_lines(audited.to_json()))
    return audited


def debug(
    run: str | Path | Any,
    *,
    rules: str | Iterable[str] = "default",
    rule: str | Iterable[str] = (),
    progress: Show = "auto",
) -> Diagnosis:
    """Check a run with the rules of the debugger, during its training or later: problems, causes, fixes.

    run: its folder, or what `train` returned.  rules: default, all, none, or names separated by commas.  rule: rules
    with parameters, "Overfit(patience=3)", or files with own rules.  progress: as in `data`.
    """
    from clearsight.workflow.debug import debug as check
    from clearsight.workflow.display.notebook import output_of, show_result
    from clearsight.workflow.display.text import diagnosis_lines

    output = output_of(progress)
    diagnosis = check(path_of(run, "runs"), rules=",".join(texts_of(rules)), rule=texts_of(rule))
    show_result(output, progress, diagnosis_lines(diagnosis.findings))
    return diagnosis


@with_settings(DataSettings)
def evaluate(
    model: str | Path | Any,
    data: str | Path,
    *,
    split: str | None = None,
    out: str | Path | None = None,
    device: str = "cpu",
    progress: Show | Callable[[str, int, int], None] = "auto",
    **settings: Unpack[DataSettings],
) -> Evaluation:
    """Measure a run or bundle on labelled images: its test split or `split`, or all of a bare folder of classes.

    out: folder for predictions.csv and metrics.json.  progress: as in `data`; or a function of (activity, done, total).
    """
    from clearsight.workflow.display.notebook import output_of, show_result
    from clearsight.workflow.display.text import evaluation_lines
    from clearsight.workflow.evaluate import evaluate as measure
    from clearsight.workflow.paths import Paths

    output, values = output_of(False if callable(progress) else progress), named_settings(settings)
    report = progress if callable(progress) else output.progress
    with output.working():
        paths = Paths.of(os.environ)
        result = measure(
            path_of(model, "runs"), data, split=split, device=device, paths=paths, progress=report, **values
        )
    if out is not None:
        result.write(Path(out))
    show_result(output, progress, evaluation_lines(result.to_json()))
    return result


def profile(
    out: str | Path | None = None,
    *,
    every: float = 0.5,
    full: bool = False,
    batch_size: int = 0,
    quiet: bool = False,
    progress: Show = "auto",
) -> Profiling:
    """Profile a training loop: put `with clearsight.profile() as p:` around it, without another change.

    out: the run folder, new or that of a `Hook` in the same loop; by default runs/profile-<n>.  every, full,
    batch_size: as in `clearsight.workflow.profile.profile`.  progress: True prints what was found at the end, False
    nothing; "auto" prints it in a terminal and in Jupyter.  quiet: the former name of progress=False.
    """
    from clearsight.workflow.display.notebook import NoOutput, output_of
    from clearsight.workflow.paths import make_folder
    from clearsight.workflow.profile import profile as profile_loop

    if not (out is None or isinstance(out, str | Path)):
        fix = "clearsight.open_run(RUN) shows the profile of a finished run."
        raise BadValue(f"profile({type(out).__name__})", "must be the folder of a new profile", fix=fix)
    silent = quiet or isinstance(output_of(progress), NoOutput)
    folder = Path(out) if out is not None else make_folder("runs", "profile", "profile")
    return profile_loop(folder, every=every, full=full, batch_size=batch_size, quiet=silent)


def compare(*runs: Any, out: str | Path | None = "compare.html", progress: Show = "auto") -> Comparison:
    """Compare 2 to 12 runs: their different settings, their scores, and whether the best one is better than by chance.

    runs: folders or runs, one by one or as a list.  out: file for the page, as of the command; None writes
    none.  progress: as in `data`.
    """
    from clearsight.workflow.compare import compare as compare_runs
    from clearsight.workflow.compare import comparison_lines
    from clearsight.workflow.display.notebook import output_of, show_result

    listed = runs[0] if len(runs) == 1 and isinstance(runs[0], list | tuple) else runs
    output = output_of(progress)
    comparison = compare_runs([path_of(run, "runs") for run in listed])
    if out is not None:
        comparison.write_page(Path(out))
    show_result(output, progress, comparison_lines(comparison, shutil.get_terminal_size().columns))
    return comparison


def report(
    run: str | Path | Any,
    *,
    out: str | Path | None = None,
    format: Literal["html", "pdf"] = "html",
    browser: str | None = None,
) -> Path:
    """Write the report of a run or a study again and return its file.

    out: another file than report.html or report.pdf in the run folder.  browser: that prints the PDF, by default
    Chromium or Chrome.
    """
    from clearsight.workflow.display.pdf import find_browser, print_pdf
    from clearsight.workflow.report import rewrite

    if format not in ("html", "pdf"):
        raise BadChoice(f"format={format!r}", "no such format", got=format, allowed=("html", "pdf"))
    if format == "pdf":
        find_browser(browser)  # an error now, before the work
    page = rewrite(path_of(run, "runs", "studies"))
    if format == "pdf":
        return print_pdf(page, Path(out) if out is not None else page.with_suffix(".pdf"), browser=browser)
    if out is None:
        return page
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(page, out))


def open_run(path: str | Path | Any, rank: int = 0) -> OpenedRun:
    """Return the tensors, scalars and findings of a run, which may still be growing.

    A folder that a Hook wrote in another training loop opens too.  rank: of the process that saved, where several did.
    Raises NotFound where no run is in the folder.
    """
    from clearsight.workflow.results.saved import OpenedRun

    return OpenedRun(path_of(path, "runs"), rank)


def open_study(path: str | Path | Any, *, storage: str | None = None) -> SavedStudy:
    """Return the study in a folder, which may still be growing. Raises NotFound where there is none.

    storage: the URL of its storage, where that needs a password, which a study does not keep.
    """
    from clearsight.workflow.open import open_study as open_saved

    return open_saved(path_of(path, "studies"), storage=storage)
