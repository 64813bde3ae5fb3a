"""Profiler: metrics are read from profiler-output and drawn with Plotly."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import smdebug.pytorch as smd
from smdebug.exceptions import CorruptFile, SMDebugRuntimeError
from smdebug.profiler import LocalAlgorithmMetricsReader, LocalSystemMetricsReader, TraceEvent
from smdebug.profiler.analysis.notebook_utils.heatmap import Heatmap
from smdebug.profiler.analysis.notebook_utils.metrics_histogram import MetricsHistogram
from smdebug.profiler.analysis.notebook_utils.step_histogram import StepHistogram
from smdebug.profiler.analysis.notebook_utils.step_timeline_chart import StepTimelineChart
from smdebug.profiler.analysis.notebook_utils.timeline_charts import TimelineCharts
from smdebug.profiler.analysis.notebook_utils.training_job import TrainingJob
from smdebug.profiler.analysis.utils.profiler_data_to_pandas import PandasFrame
from smdebug.profiler.utils import TimeUnits, str2bool, us_since_epoch_to_human_readable_time
from tests.sagemaker.smdebug.conftest import Batches
from tests.sagemaker.smdebug.test_hook import Net, evaluate, train

START = 1591160640  # a full minute


def system_event(second: float, dimension: str, name: str, value: float) -> str:
    kind = dimension[:3].lower()
    return json.dumps(
        {"Type": kind, "Name": name, "Dimension": dimension, "Value": value, "NodeId": "algo-1", "Timestamp": second}
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two minutes of system metrics, each half second, and a timeline of three steps of 100 ms."""
    system = tmp_path / "profiler-output" / "system" / "incremental" / "2020060305"
    system.mkdir(parents=True)
    for minute in (0, 1):
        lines = [
            system_event(START + 60 * minute + tick / 2, dimension, name, value)
            for tick in range(120)
            for dimension, name, value in (
                ("CPUUtilization", "cpu0", 20),
                ("CPUUtilization", "cpu1", 40),
                ("GPUUtilization", "gpu0", tick % 100),
            )
        ]
        (system / f"{START + 60 * minute}.algo-1.json").write_text("\n".join(lines) + '\n{"Type": "cp')
    (system / "notes.json").write_text("not a file of metrics")
    pevents = tmp_path / "profiler-output" / "framework" / "pevents" / "2020060305"
    pevents.mkdir(parents=True)
    events: list[dict[str, Any]] = [
        {"name": "process_name", "ph": "M", "pid": 0, "args": {"start_time_since_epoch_in_micros": START * 10**6}},
        {"name": "process_name", "ph": "M", "pid": 1, "args": {"name": "Step:ModeKeys.TRAIN"}},
    ]
    for step in range(3):
        args = {"pid": 77, "step_num": str(step)}
        event = {"name": "Step:ModeKeys.TRAIN", "ph": "X", "pid": 1, "ts": step * 10**6, "dur": 100_000, "args": args}
        events.append(event)
    (pevents / f"{(START + 3) * 10**6}_77-algo-1_model_timeline.json").write_text(json.dumps(events))
    return tmp_path / "profiler-output"


def test_system_metrics_are_read_by_time_and_type(folder: Path) -> None:
    reader = LocalSystemMetricsReader(str(folder))
    assert reader.get_current_time_range_for_event_query() == (START * 10**6, (START + 60) * 10**6)
    assert len(reader.get_events(0, (START + 120) * 10**6)) == 720
    events = reader.get_events(START, START + 1, TimeUnits.SECONDS, event_type="gpu")
    assert [event.timestamp - START for event in events] == [0, 0.5, 1]
    damaged = next(folder.rglob("*.algo-1.json"))
    damaged.write_text('{"Type"\n' + damaged.read_text())
    with pytest.raises(CorruptFile, match="line 1: no measurement"):
        reader.get_events(0, (START + 120) * 10**6)


def test_timelines_are_read_by_time_and_step(folder: Path) -> None:
    reader = LocalAlgorithmMetricsReader(str(folder), use_in_memory_cache=True)
    events = reader.get_events(0, (START + 60) * 10**6)
    assert events[1] == TraceEvent(
        *((START + 1) * 10**6, "Step:ModeKeys.TRAIN", 100_000, {"pid": 77, "step_num": "1"}),
        *("algo-1-77", "Step:ModeKeys.TRAIN", 77, 0),
    )
    assert [event.event_args["step_num"] for event in reader.get_events_by_step(1, 2)] == ["1"]
    assert reader.get_events_by_step(1, 9) == []


def test_charts_show_the_selected_metrics(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "bokeh" not in sys.modules
    system, framework = LocalSystemMetricsReader(str(folder)), LocalAlgorithmMetricsReader(str(folder))
    charts = TimelineCharts(system, framework, select_dimensions=["CPU", "GPU"], select_events=["total"])
    assert charts.filtered_dimensions == ["CPUUtilization-nodeid:algo-1", "GPUUtilization-nodeid:algo-1"]
    assert "filtered_events:{'total'}" in capsys.readouterr().out
    cpu, gpu = charts.figure.data
    assert (set(cpu.y), len(gpu.y)) == ({30.0}, 240)
    assert charts.find_time_annotations([2, 6]) == pytest.approx(
        {"Step:ModeKeys.TRAIN_1": 0.1, "Step:ModeKeys.TRAIN_2": 0.1}
    )
    assert len(charts.plot_detailed_profiler_data([0, 200]).data) == 3
    heatmap = Heatmap(system, select_dimensions=["CPU"], plot_height=450)
    assert list(heatmap.rows()) == [f"CPUUtilization-nodeid:algo-1_{name}" for name in ("cpu0", "cpu1", "total")]
    steps = StepTimelineChart(framework)
    assert list(steps.figure.data[0].y) == pytest.approx([0.1] * 3)
    steps.update_data((START + 60) * 10**6)
    assert len(steps.steps) == 3
    histogram = StepHistogram(framework)
    histogram.plot(show_workers=False)
    assert histogram.step_metrics == {"Step:ModeKeys.TRAIN": [100.0] * 3}
    metrics = MetricsHistogram(system)
    metrics.plot(select_events=["gpu0"])
    assert sum(metrics.figure.data[0].y) == 240


def test_charts_without_plotly_or_data_say_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SMDebugRuntimeError, match="there are no system metrics yet"):
        Heatmap(LocalSystemMetricsReader(str(tmp_path / "empty")))
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(SMDebugRuntimeError, match="pip install plotly"):
        TimelineCharts(LocalSystemMetricsReader(str(folder)), None)


def test_tables(folder: Path) -> None:
    pytest.importorskip("pandas")
    frame = PandasFrame(str(folder))
    table = frame.get_all_system_metrics(["CPUUtilization"])
    assert (len(table), table["value"].mean(), table["timestamp_us"].min()) == (480, 30, 0)
    assert frame.get_all_framework_metrics()["step"].tolist() == [0, 1, 2]


def test_tables_of_a_time_and_of_steps(folder: Path) -> None:
    pytest.importorskip("pandas")
    frame = PandasFrame(str(folder))
    begin = START * 10**6
    system, framework = frame.get_profiler_data_by_time(
        begin, begin + 1_000_000, selected_system_metrics=["cpu0"], get_framework_metrics=False
    )
    assert system["system_metric"].unique().tolist() == ["cpu0"]
    assert (system["timestamp_us"].min(), system["timestamp_us"].max()) == (0, 1_000_000)
    assert framework.empty
    system, framework = frame.get_profiler_data_by_step(1, 2)
    assert framework["step"].tolist() == [1, 2]
    ends = framework["start_time_us"].min(), framework["end_time_us"].max()
    assert ends[0] <= system["timestamp_us"].min() <= system["timestamp_us"].max() <= ends[1]


def test_a_job_without_data_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    described = {
        "ProfilerConfig": {"S3OutputPath": "s3://jobs/"},
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
    }
    client = SimpleNamespace(
        describe_training_job=lambda TrainingJobName: described,  # noqa: N803 - boto3's name
        list_objects_v2=lambda **_: {"Contents": []},
    )
    monkeypatch.setitem(sys.modules, "boto3", SimpleNamespace(client=lambda *_, **__: client))
    job = TrainingJob("scenes-1", "us-east-1")
    assert job.profiler_s3_output_path == "s3://jobs/scenes-1/profiler-output"
    with pytest.raises(SMDebugRuntimeError, match="is Completed and has no profiler data of the system"):
        job.wait_for_sys_profiling_data_to_be_available()
    del described["ProfilerConfig"]
    with pytest.raises(SMDebugRuntimeError, match="the job has no profiler"):
        TrainingJob("scenes-2")


def test_truth_values_and_times() -> None:
    assert [str2bool(text) for text in ("True", "y", "0", "off", True)] == [True, True, False, False, True]
    with pytest.raises(ValueError, match="must be one of"):
        str2bool("maybe")
    assert us_since_epoch_to_human_readable_time(START * 10**6 + 5) == "2020-06-03T05:04:00:000005"


def test_the_hook_writes_the_timelines_that_readers_read(
    tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {"ProfilingParameters": {"LocalPath": str(tmp_path / "profiler"), "FileOpenFailThreshold": "50"}}
    (tmp_path / "profilerconfig.json").write_text(json.dumps(config))
    monkeypatch.setenv("SMPROFILER_CONFIG_PATH", str(tmp_path / "profilerconfig.json"))
    hook = smd.Hook(str(tmp_path / "tensors"))
    model = Net()
    train(hook, model, batches[:3])
    evaluate(hook, model, batches[:2])
    hook.close()
    reader = LocalAlgorithmMetricsReader(str(tmp_path / "profiler"))
    events = reader.get_events(0, reader.get_timestamp_of_latest_available_file() + 10**6)
    steps = [(event.event_phase, event.event_args["step_num"]) for event in events if event.event_name[:4] == "Step"]
    expected = [("TRAIN", 0), ("TRAIN", 1), ("TRAIN", 2), ("EVAL", 0), ("EVAL", 1)]
    assert steps == [(f"Step:ModeKeys.{mode}", str(step)) for mode, step in expected]
    phases = [event.event_name for event in events if event.event_args["step_num"] == "2"]
    assert phases == ["conv", "relu", "fc", "fixed", "Net", "CrossEntropyLoss", "Step:ModeKeys.TRAIN"]
    assert all(event.duration >= 0 for event in events)
    assert len(StepTimelineChart(reader).steps) == 5
