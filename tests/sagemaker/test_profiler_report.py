"""The output of a ProfilerReport: SageMaker's files, and a page with the sections of its report in their order."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from clearsight.core.errors import NotFound
from clearsight.core.profile import Operator, Profile, Trace
from clearsight.testing.profiles import GPU_MACHINE, healthy_cpu, healthy_gpu, profile
from clearsight_sagemaker.profiler_report import profiler_page, write_profiler_output
from clearsight_sagemaker.rule_reports import RULES, rule_reports
from clearsight_sagemaker.run_profile import read_run
from tests.sagemaker.runs import run_folder

FRAMEWORK = "Framework metrics summary"
SECTIONS = [
    "SageMaker Debugger Profiling Report",
    "Training job summary",
    "System usage statistics",
    FRAMEWORK,
    "Rules summary",
    "Analyzing the training loop",
    "Step duration analysis",
    "GPU utilization analysis",
    "Dataloading analysis",
    "Batch size",
    "CPU bottlenecks",
    "I/O bottlenecks",
    "GPU memory",
]
VOID = ("meta", "br", "line", "rect")


class Outline(HTMLParser):
    """Collects headings, tags that stay open, and URLs that the page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.open: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append(data)


def page(run: Path) -> str:
    found = read_run(run)
    return profiler_page(found, rule_reports(found))


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    return parser


@pytest.mark.parametrize("found", [healthy_gpu(gpus=2), healthy_cpu()], ids=["gpus", "cpu"])
def test_sections_in_their_order(tmp_path: Path, found: Profile) -> None:
    read = outline(page(run_folder(tmp_path / "run", found)))
    assert read.headings == SECTIONS
    assert read.open == []


def test_without_framework_data_that_section_is_left_out(tmp_path: Path) -> None:
    read = outline(page(run_folder(tmp_path / "run", Profile())))
    assert read.headings == [title for title in SECTIONS if title != FRAMEWORK]


@pytest.mark.parametrize("found", [healthy_gpu(gpus=2), Profile()], ids=["gpus", "empty"])
def test_it_needs_no_other_file(tmp_path: Path, found: Profile) -> None:
    text = page(run_folder(tmp_path / "run", found))
    assert outline(text).fetched == []
    assert not any(word in text for word in ("http:", "https:", "//", "<script", "@import", "url("))


def test_it_names_its_author(tmp_path: Path) -> None:
    assert "written by clearsight" in page(run_folder(tmp_path / "run", healthy_cpu()))


def test_the_summary_lists_every_rule_and_the_most_triggered_one(tmp_path: Path) -> None:
    waits = profile(
        steps=300, phases={"data": 0.08}, gauges={"gpu0": 5.0, "gpu0.memory": 9.0, "cpu": 97.0}, machine=GPU_MACHINE
    )
    text = page(run_folder(tmp_path / "run", waits))
    assert "rule was the most frequently triggered. It processed" in text
    summary = text[text.index("Rules summary") : text.index("Analyzing the training loop")]
    assert sorted(RULES, key=summary.index)[0] in ("BatchSize", "CPUBottleneck", "LowGPUUtilization")
    assert [rule for rule in RULES if f"<td>{rule}</td>" not in summary] == []


def test_without_findings_no_rule_was_triggered(tmp_path: Path) -> None:
    assert "no rule was triggered" in page(run_folder(tmp_path / "run", healthy_gpu()))


def test_gpus_that_never_idled_have_data(tmp_path: Path) -> None:
    text = page(run_folder(tmp_path / "gpu", healthy_gpu()))
    part = text[text.index("<h3>CPU bottlenecks") : text.index("<h3>I/O bottlenecks")]
    assert "GPU idle: 0 samples (0.0 %)" in part
    text = page(run_folder(tmp_path / "cpu", healthy_cpu()))
    part = text[text.index("<h3>CPU bottlenecks") : text.index("<h3>I/O bottlenecks")]
    assert "No data." in part


def test_operators_of_a_trace(tmp_path: Path) -> None:
    operators = (Operator(name="aten::<conv>", calls=20, cpu_seconds=1.0, device_seconds=3.0),)
    traced = healthy_gpu()
    traced.trace = Trace(first=10, last=15, seconds=1.2, operators=operators)
    text = page(run_folder(tmp_path / "run", traced))
    assert "<td>aten::&lt;conv&gt;</td>" in text


def test_a_name_is_shown_as_text(tmp_path: Path) -> None:
    found = replace(read_run(run_folder(tmp_path / "run", healthy_cpu())), name="<b>&")
    assert "&lt;b&gt;&amp;" in profiler_page(found, rule_reports(found))


def test_the_files_of_the_output(tmp_path: Path) -> None:
    folder = write_profiler_output(run_folder(tmp_path / "run", healthy_cpu()), tmp_path / "out")
    assert folder == tmp_path / "out" / "profiler-output"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {"profiler-report.html", *(f"profiler-reports/{rule}.json" for rule in RULES)}
    for path in (folder / "profiler-reports").iterdir():
        assert json.loads(path.read_text(encoding="utf-8"))["RuleTriggered"] == 0


def test_old_output_is_replaced(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", healthy_cpu())
    first = (write_profiler_output(run, tmp_path) / "profiler-report.html").read_bytes()
    assert (write_profiler_output(run, tmp_path) / "profiler-report.html").read_bytes() == first


def test_without_a_run_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        write_profiler_output(tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()
