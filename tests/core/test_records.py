"""Whatever a JSON file holds, reading it gives a right record or one sentence about the first wrong value."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from clearsight.core.bundle import Bundle
from clearsight.core.context import RunContext
from clearsight.core.errors import BadData, ClearsightError
from clearsight.core.files import read_json
from clearsight.core.finding import Finding, Points, Series, Verdict
from clearsight.core.preprocess import Preprocess
from clearsight.core.profile import Machine
from clearsight.core.recipe import Recipe
from clearsight.core.records import read_record
from clearsight.core.run import Run
from clearsight.core.run_facts import read_evaluation
from clearsight.core.space import Choice, Dimension, FloatRange, Space
from clearsight.core.study import Study, StudyPlan
from clearsight.core.trial import Objective, TrialResult, TrialState

Path_ = tuple[str | int, ...]


@dataclass(frozen=True)
class Pair:
    left: int
    right: tuple[str, ...] = ()


def write_run(folder: Path) -> Path:
    preprocess = Preprocess(size=32, resize=32).model_dump(mode="json")
    run = Run.begin(folder, Recipe(), weights={"origin": "random", "file": "", "sha256": "", "preprocess": preprocess})
    run.data = {"path": "d", "classes": ["a", "b"], "counts": {"train": {"a": 3}}, "notices": []}
    run.scores = {"valid": {"accuracy": 0.5, "roc_auc": None}, "test": None}
    run.calibration = {"temperature": 1.5, "images": 9, "errors": 2}
    run.refit = {"epochs": 2, "images": 9, "reason": ""}
    run.failed_steps = [{"step": "report", "problem": "p", "command": "c"}]
    run.save()
    return folder / "run.json"


def write_study(folder: Path) -> Path:
    space = Space(
        (Dimension(name="lr", domain=FloatRange(low=0.1, high=1)), Dimension(name="ema", domain=Choice(values=(0.0,))))
    )
    plan = StudyPlan.parse({"data": "d", "space": space, "objectives": (Objective("accuracy", "maximize"),)})
    study = Study.begin(folder, plan, Recipe())
    study.best = {"trial": 0, "value": 0.5, "values": [0.5], "params": {"lr": 0.2}, "run": "trials/0000/run"}
    study.save()
    return folder / "study.json"


def write_bundle(folder: Path) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    calibration = {"images": 9.0, "errors": 2.0}
    size = Preprocess(size=32, resize=32)
    Bundle(model="tiny", classes=("cat", "dog"), preprocess=size, head=(8,), calibration=calibration).seal(folder)
    return folder / "bundle.json"


def write_evaluation(folder: Path) -> Path:
    folder.mkdir()
    row = {"precision": 0.5, "recall": None, "f1": 0.5, "support": 3}
    values = {"accuracy": 0.5, "per_class": {"a": row}, "confusion": {"labels": ["a"], "matrix": [[3]]}, "n": 3}
    (folder / "metrics.json").write_text(json.dumps(values))
    return folder / "metrics.json"


def write_json_of(value: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        folder.mkdir()
        (folder / "values.json").write_text(json.dumps(value))
        return folder / "values.json"

    return write


FINDING = Finding(
    rule="R", verdict=Verdict.FOUND, steps=(1, 2), points=Points(1, 2), evidence=(Series("loss", (1,), (0.5,)),)
)
RESULT = TrialResult(number=1, state=TrialState.COMPLETE, values=(0.5,), curve={1: {"loss": 0.5}}, scores={"loss": 1.0})
Read = Callable[[Path], object]
DOCUMENTS: dict[str, tuple[Callable[[Path], Path], Read]] = {
    "run.json": (write_run, lambda file: Run.open(file.parent)),
    "study.json": (write_study, lambda file: Study.open(file.parent)),
    "bundle.json": (write_bundle, lambda file: Bundle.open(file.parent)),
    "evaluation": (write_evaluation, read_evaluation),
    "finding": (write_json_of(FINDING.to_json()), lambda file: Finding.from_json(read_json(file))),
    "outcome": (write_json_of(RESULT.to_json()), lambda file: TrialResult.from_json(read_json(file))),
    "machine": (write_json_of(Machine(cores=2).to_json()), lambda file: Machine.from_json(read_json(file))),
    "context": (
        write_json_of(RunContext(classes=("a",)).to_json()),
        lambda file: RunContext.from_json(read_json(file)),
    ),
}
WRONG: list[Any] = [
    None,
    -1,
    0,
    1e999,
    float("nan"),
    10**30,
    "x",
    "",
    "../../etc/hostname",
    [],
    [None],
    {},
    {"a": [1]},
    True,
]


def places(value: Any, place: Path_ = ()) -> Iterator[Path_]:
    """Yield the place of every value in a JSON document, the document itself first."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*place, key))


def with_value(document: Any, place: Path_, value: Any) -> Any:
    if not place:
        return value
    copy = json.loads(json.dumps(document))
    holder = copy
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return copy


@pytest.mark.parametrize("kind", DOCUMENTS)
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_wrong_value_in_any_place_is_one_sentence(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    write, read = DOCUMENTS[kind]
    file = next(iter(tmp_path.glob("d/*.json")), None) or write(tmp_path / "d")
    backup = tmp_path / "right.json"
    if not backup.exists():
        backup.write_bytes(file.read_bytes())
    right = json.loads(backup.read_text())
    place = data.draw(st.sampled_from(list(places(right))))
    file.write_text(json.dumps(with_value(right, place, data.draw(st.sampled_from(WRONG)))))
    try:
        read(file)
    except ClearsightError as error:
        assert "\n" not in str(error)  # noqa: PT017 - the error is one of two right results


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_the_document_itself_is_read(kind: str, tmp_path: Path) -> None:
    write, read = DOCUMENTS[kind]
    assert read(write(tmp_path / "d"))


@pytest.mark.parametrize("kind", DOCUMENTS)
@given(
    text=st.one_of(
        st.binary(max_size=50),
        st.recursive(st.none() | st.floats() | st.text(max_size=5), st.lists).map(lambda v: json.dumps(v).encode()),
    )
)
@example(text=b"[" * 100_000)
@example(text=b'{"format": ' + b"9" * 5000 + b"}")
@example(text=b"\xff\xfe{\x00}\x00")
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_one_sentence(kind: str, text: bytes, tmp_path: Path) -> None:
    assume(text.strip() != b"{}")  # an object without fields is a context of which nothing is known
    write, read = DOCUMENTS[kind]
    file = next(iter(tmp_path.glob("d/*.json")), None) or write(tmp_path / "d")
    file.write_bytes(text)
    with pytest.raises(ClearsightError, match=r"^[^\n]+$"):
        read(file)


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert Run.open(tmp_path / "run").name == "run"


def test_lists_become_tuples_and_later_keys_are_left_out() -> None:
    assert read_record(Pair, {"left": 1, "right": ["a"], "of_a_later_version": 1}, "f") == Pair(1, ("a",))


def test_the_place_the_file_and_the_nearest_field_are_named() -> None:
    with pytest.raises(BadData, match=r"^f: it is damaged \(right\.1: input must be a valid string\)"):
        read_record(Pair, {"left": 1, "right": ["a", 2]}, "f")
    with pytest.raises(BadData, match="'lefft' is none of its fields; did you mean 'left'"):
        read_record(Pair, {"lefft": 1}, "f", closed=True)


@pytest.mark.parametrize(
    "change", [{"started": "noon"}, {"data": {"path": 3}}, {"status": "asleep"}, {"surprise": 1}, {"scores": [1]}]
)
def test_a_run_with_a_wrong_value_names_its_file(tmp_path: Path, change: dict[str, Any]) -> None:
    file = write_run(tmp_path / "run")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(BadData, match=r"run\.json: it is damaged \(.*" + next(iter(change))):
        Run.open(tmp_path / "run")


@pytest.mark.parametrize(
    "line",
    [
        '{"step": 1}',
        '{"step": "1", "epoch": 1, "name": "loss", "value": 1}',
        '{"step": 1, "epoch": 1, "name": "loss", "value": "x"}',
    ],
)
def test_a_line_of_metrics_without_its_values_is_named(tmp_path: Path, line: str) -> None:
    write_run(tmp_path / "run")
    right = '{"step": 1, "epoch": 1, "mode": "train", "name": "loss", "value": 1}'
    (tmp_path / "run" / "metrics.jsonl").write_text(f"{right}\n{line}\n{right}\n")
    with pytest.raises(BadData, match="line 2"):
        Run.open(tmp_path / "run").epochs()
