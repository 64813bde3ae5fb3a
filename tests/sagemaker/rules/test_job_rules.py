"""Rules of whole jobs: their statuses, details, reports and actions, on a few real images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clearsight.debugger.storage.saved_run import SavedRun
from tests.sagemaker.training.conftest import JobRun
from tests.sagemaker.training.test_stop import once_logged

TRAINING = """
import os
import smdebug.pytorch as smd
import torch
from torchvision import datasets, transforms

lr, epochs = (float(os.environ["SM_HP_" + name]) for name in ("LR", "EPOCHS"))
torch.manual_seed(0)
size = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
images = {split: datasets.ImageFolder(os.environ["SM_CHANNEL_" + split], size) for split in ("TRAIN", "VALID")}
layers = torch.nn.Linear(3 * 16 * 16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 2)
model = torch.nn.Sequential(torch.nn.Flatten(), *layers)
optimizer = torch.optim.SGD(model.parameters(), lr=lr)
criterion = torch.nn.CrossEntropyLoss()
hook = smd.get_hook(create_if_not_exists=True)
hook.register_module(model)
hook.register_loss(criterion)
for epoch in range(int(epochs)):
    hook.set_mode(smd.modes.TRAIN)
    model.train()
    for batch, labels in torch.utils.data.DataLoader(images["TRAIN"], batch_size=4, shuffle=True):
        optimizer.zero_grad()
        criterion(model(batch), labels).backward()
        optimizer.step()
    hook.set_mode(smd.modes.EVAL)
    model.eval()
    with torch.no_grad():
        for batch, labels in torch.utils.data.DataLoader(images["VALID"], batch_size=4):
            criterion(model(batch), labels)
print("trained to the end")
"""


def debugged(job: JobRun, scenes: Path, *, lr: float, epochs: int) -> None:
    """Let a job train on eight real images a class, with everything saved every second step."""
    for split, places in {"train": slice(0, 8), "valid": slice(8, 12)}.items():
        for name in ("forest", "sea"):
            for image in sorted((scenes / "seg_train" / name).glob("*.jpg"))[places]:
                job.put(f"scenes/{split}/{name}/{image.name}", image.read_bytes())
        job.channel(split, f"s3://photos/scenes/{split}")
    job.request["HyperParameters"] |= {"lr": str(lr), "epochs": str(epochs)}
    job.request["DebugHookConfig"] = {
        "S3OutputPath": "s3://photos/out",
        "HookParameters": {"save_interval": "2"},
        "CollectionConfigurations": [{"CollectionName": name} for name in ("losses", "gradients", "weights")],
    }
    job.code(TRAINING)


def rule(name: str, configuration: str = "", **parameters: str) -> dict[str, Any]:
    return {
        "RuleConfigurationName": configuration or name,
        "RuleEvaluatorImage": "debugger-rules",
        "RuleParameters": {"rule_to_invoke": name, **parameters},
    }


def statuses(job: JobRun) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for event in job.events:
        if event["kind"] == "rule":
            found.setdefault(event["configuration"], []).append(event["status"])
    return found


def details(job: JobRun, name: str) -> str:
    return next(e["details"] for e in reversed(job.events) if e["kind"] == "rule" and e["configuration"] == name)


def profiled(job: JobRun, framework: bool = False) -> None:
    """Let the metrics of the machine be read five times a second."""
    job.request["ProfilerConfig"] = {"S3OutputPath": "s3://photos/out", "ProfilingIntervalInMilliseconds": 200}
    if framework:
        job.request["ProfilerConfig"]["ProfilingParameters"] = {
            "DataloaderProfilingConfig": json.dumps({"StartStep": 0, "NumSteps": 1000}),
        }


def test_rules_of_a_job(job: JobRun, scenes: Path) -> None:
    debugged(job, scenes, lr=0.0, epochs=5)
    profiled(job, framework=True)
    job.request["DebugRuleConfigurations"] = [
        rule("LossNotDecreasing", mode="EVAL", num_steps="4"),
        rule("VanishingGradient"),
        rule("Overfit", patience="3", ratio_threshold="0.5"),
        rule("Overfit", "Misspelt", patients="3"),
        rule("DeadRelu"),
        rule("TreeDepth"),
    ]
    job.request["ProfilerRuleConfigurations"] = [
        rule("ProfilerReport", StepOutlier_stddev="50"),
        rule("LowGPUUtilization", patience="1000", scan_interval_us="60000000"),
        rule("MaxInitializationTime", threshold="0.00001"),
    ]
    assert job.run() == "Completed", job.log
    assert {name: values[-1] for name, values in statuses(job).items()} == {
        "LossNotDecreasing": "IssuesFound",
        "VanishingGradient": "NoIssuesFound",
        "Overfit": "NoIssuesFound",
        "Misspelt": "Error",
        "DeadRelu": "NoIssuesFound",
        "TreeDepth": "Error",
        "ProfilerReport": "NoIssuesFound",
        "LowGPUUtilization": "NoIssuesFound",
        "MaxInitializationTime": "IssuesFound",
    }
    assert all(values[0] == "InProgress" for values in statuses(job).values())
    found = details(job, "LossNotDecreasing")
    assert found.startswith("RuleEvaluationConditionMet: Evaluation of the rule LossNotDecreasing at step ")
    assert "fell by 0 %, less than diff_percent=0.1" in found
    assert "Did you mean patience?" in details(job, "Misspelt")
    assert "too little data" in details(job, "DeadRelu")
    assert "TreeDepth" in details(job, "TreeDepth")
    assert any(line.startswith("Rule VanishingGradient: NoIssuesFound") for line in job.log)
    check_report(job)
    check_run(job)


def check_report(job: JobRun) -> None:
    """Check the files of the report, and that they are about this job."""
    folder = "out/job-1/rule-output/ProfilerReport/profiler-output/"
    files = {key.removeprefix(folder) for key in job.keys(folder)}
    assert {"profiler-report.html", "profiler-report.ipynb"} <= files
    assert len([name for name in files if name.startswith("profiler-reports/")]) == 11
    steps = json.loads(job.get(f"{folder}profiler-reports/StepOutlier.json"))
    assert steps["Datapoints"] == 20  # five epochs of four batches
    assert "stddev:50" in steps["RuleParameters"]
    usage = json.loads(job.get(f"{folder}profiler-reports/OverallSystemUsage.json"))
    assert 0 < usage["Details"]["CPU"]["algo-1"]["max"] <= 100
    if not usage["Details"]["GPU"]:
        assert json.loads(job.get(f"{folder}profiler-reports/LowGPUUtilization.json"))["Datapoints"] == 0
    page = job.get(f"{folder}profiler-report.html").decode()
    assert "SageMaker Debugger Profiling Report" in page
    notebook = json.loads(job.get(f"{folder}profiler-report.ipynb"))
    assert notebook["nbformat"] == 4
    assert any("job-1" in line for line in notebook["cells"][0]["source"])


def check_run(job: JobRun) -> None:
    """Check that the run folder of the job is there, and is named in the log."""
    run = SavedRun(job.folder / "run")
    assert len(run.tensor("loss").steps("train")) == 20
    assert len(run.profile().steps()) == 20
    assert any(f"clearsight report {job.folder / 'run'}" in line for line in job.log)


def test_without_tensors_and_metrics_rules_are_errors(job: JobRun) -> None:
    job.code("print('trained')")
    job.request["DebugHookConfig"] = {"S3OutputPath": "s3://photos/out"}
    job.request["DebugRuleConfigurations"] = [rule("Overfit")]
    job.request["ProfilerRuleConfigurations"] = [rule("ProfilerReport")]
    assert job.run() == "Completed", job.log
    assert statuses(job) == {"Overfit": ["InProgress", "Error"], "ProfilerReport": ["InProgress", "Error"]}
    assert details(job, "Overfit").startswith("ClientError: No debugging data was saved by the training job.")
    kinds = [event["kind"] for event in job.events]
    assert kinds.index("finished") < len(kinds) - 1 - kinds[::-1].index("rule"), "verdicts follow the end of training"


SAVING = """
import time
import numpy as np
from smdebug.core.collection_manager import CollectionManager
from smdebug.core.file_store import LocalFiles
from smdebug.core.modes import ModeKeys
from smdebug.core.step_writer import StepWriter

files = LocalFiles("/opt/ml/output/tensors")
files.write("collections/000000000/worker_0_collections.json", CollectionManager().to_json().encode())

def save(step, loss):
    writer = StepWriter(files, step, "worker_0")
    writer.write_tensor("CrossEntropyLoss_output_0", np.array(loss), ModeKeys.TRAIN, step)
    writer.close()
"""
SPOT = f"""{SAVING}
import os, pathlib
is_first = not os.listdir("/opt/ml/checkpoints")
pathlib.Path("/opt/ml/checkpoints/begun.txt").write_text("yes")
for step in range(12):
    save(step, 2.0 if is_first else 2.0 / (step + 1))
time.sleep(100 if is_first else 0)
"""
SLOW = f"""{SAVING}
for step in range(1000):
    save(step, 2.0)
    time.sleep(0.1)
print("trained to the end")
"""


def test_a_job_that_is_started_again_is_judged_by_its_last_attempt(private_job: JobRun) -> None:
    """The first attempt has a flat loss, which is found while it runs; the loss of the second falls."""
    job = private_job
    job.request |= {
        "EnableManagedSpotTraining": True,
        "CheckpointConfig": {"S3Uri": "s3://photos/checkpoints/a"},
        "DebugHookConfig": {"S3OutputPath": "s3://photos/out"},
        "DebugRuleConfigurations": [rule("LossNotDecreasing")],
    }
    job.code(SPOT)
    interrupt = job.folder / "interrupt"
    with once_logged(job, "2 at TRAIN step 0, 2 at step 10.", interrupt.touch):
        assert job.run() == "Completed", job.log
    assert statuses(job)["LossNotDecreasing"] == ["InProgress", "IssuesFound", "InProgress", "NoIssuesFound"]


CUSTOM = """
from smdebug.rules import Rule

class LossIsHigh(Rule):
    def __init__(self, base_trial, threshold="10"):
        super().__init__(base_trial, action_str="")
        self.threshold = float(threshold)
        print("judging above", self.threshold)

    def set_required_tensors(self, step):
        self.req_tensors.add(name="Loss.*output", steps=[step], should_match_regex=True)

    def invoke_at_step(self, step):
        return any(tensor.value(step).mean() > self.threshold for tensor in self.req_tensors.get())
"""


def test_custom_rules_and_an_action(private_job: JobRun) -> None:
    """A custom rule stops a training that would last 100 s; another finds nothing, and a third has no class."""
    job = private_job
    job.request["DebugHookConfig"] = {"S3OutputPath": "s3://photos/out"}
    job.code(SLOW)
    source = job.put("rules/my_rule.py", CUSTOM.encode())
    stop = '[{\\"name\\": \\"stoptraining\\", \\"training_job_prefix\\": \\"job-1\\"}]'
    job.request["DebugRuleConfigurations"] = [
        rule("LossIsHigh", "High", source_s3_uri=source, threshold="0.1", action_json=stop),
        rule("LossIsHigh", "Low", source_s3_uri=source, threshold="100"),
        rule("LossIsLow", "Missing", source_s3_uri=source),
        rule("LossIsHigh", "Archive", source_s3_uri="s3://photos/rules/my_rule.zip"),
    ]
    assert job.run() == "Stopped", job.log
    assert {name: values[-1] for name, values in statuses(job).items()} == {
        "High": "IssuesFound",
        "Low": "Stopped",
        "Missing": "Error",
        "Archive": "Error",
    }
    assert "Stopping" in job.statuses
    assert "trained to the end" not in job.log
    assert "judging above 0.1" in job.log
    assert "It has: LossIsHigh, Rule" in details(job, "Missing")
    assert "must be a file .py" in details(job, "Archive")


TIMELINE = """
import time
from smdebug.profiler.timeline_writer import TimelineWriter

writer, now = TimelineWriter("/opt/ml/output/profiler"), time.time() + 1  # after the first sample of the system
for step in range(4):
    writer.add("Step:ModeKeys.TRAIN", "Step:ModeKeys.TRAIN", now + step, now + step + 0.5, step_num=str(step))
writer.flush()
time.sleep(100)
print("trained to the end")
"""


def test_a_profiler_rule_stops_a_job_that_runs(private_job: JobRun) -> None:
    job = private_job
    profiled(job, framework=True)
    job.code(TIMELINE)
    stop = '[{\\"name\\": \\"stoptraining\\", \\"training_job_prefix\\": \\"job-1\\"}]'
    job.request["ProfilerRuleConfigurations"] = [
        rule("MaxInitializationTime", threshold="0.00001", scan_interval_us="200000", action_json=stop),
        rule("StepOutlier", scan_interval_us="200000"),
        rule("BatchSize", action_json="no list"),
        rule("ProfilerReport"),
    ]
    assert job.run() == "Stopped", job.log
    assert statuses(job) == {
        "MaxInitializationTime": ["InProgress", "IssuesFound"],
        "StepOutlier": ["InProgress", "Stopped"],
        "BatchSize": ["InProgress", "Error"],
        "ProfilerReport": ["InProgress", "Stopped"],
    }
    assert "trained to the end" not in job.log
    assert job.has("out/job-1/rule-output/ProfilerReport/profiler-output/profiler-report.html")


PROFILER_CHANGED = """
import json, time

print("waiting", flush=True)
while json.load(open("/opt/ml/input/config/profilerconfig.json")).get("DisableProfiler"):
    time.sleep(0.02)
time.sleep(0.5)
"""


def test_the_profiler_of_a_running_job_is_changed(private_job: JobRun) -> None:
    job = private_job
    job.request["ProfilerConfig"] = {"S3OutputPath": "s3://photos/out", "DisableProfiler": True}
    job.code(PROFILER_CHANGED)

    def update() -> None:
        profiled(job)
        job.request["ProfilerRuleConfigurations"] = [rule("OverallSystemUsage")]
        job.write()

    with once_logged(job, "waiting", update):
        assert job.run() == "Completed", job.log
    assert statuses(job) == {"OverallSystemUsage": ["InProgress", "NoIssuesFound"]}
    assert "The profiler was changed: the metrics of the machine are read every 200 ms." in job.log
    [key] = job.keys("out/job-1/profiler-output/system")[:1]
    assert {json.loads(line)["NodeId"] for line in job.get(key).splitlines()} == {"algo-1"}
