"""SDK v2 against the service: the calls with which notebooks begin."""

from __future__ import annotations

import json

from tests.sagemaker.clients.conftest import Clients

BEGINNING = """
import json, sagemaker
session = sagemaker.Session()
print(json.dumps([session.default_bucket(), sagemaker.get_execution_role(), session.account_id()]))
"""
FIT = """
import sagemaker
from sagemaker.debugger import Rule, rule_configs
from sagemaker.pytorch import PyTorch

open("train.py", "w").write("print('never run')")
estimator = PyTorch(
    entry_point="train.py", role=sagemaker.get_execution_role(), framework_version="1.9", py_version="py38",
    instance_count=1, instance_type="ml.g4dn.xlarge", hyperparameters={"epochs": 3, "model-type": "resnet50"},
    base_job_name="dogs", rules=[Rule.sagemaker(rule_configs.loss_not_decreasing())],
)
estimator.fit(wait=True)
print("JOB", estimator.latest_training_job.name)
print("RULE", estimator.latest_training_job.rule_job_summary()[0]["RuleEvaluationStatus"])
attached = PyTorch.attach(estimator.latest_training_job.name)
print("ATTACHED", attached.hyperparameters()["model-type"], attached.framework_version, attached.model_data)
analytics = sagemaker.TrainingJobAnalytics(estimator.latest_training_job.name, metric_names=["loss"])
print("METRICS", len(analytics.dataframe()))
"""
TRAINER = """
from sagemaker.modules.train import ModelTrainer
from sagemaker.modules.configs import Compute, SourceCode
import os, sagemaker

os.makedirs("code", exist_ok=True)
open("code/train.py", "w").write("print('never run')")
trainer = ModelTrainer(
    training_image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.5-cpu-py311",
    source_code=SourceCode(source_dir="code", entry_script="train.py"), base_job_name="trainer",
    compute=Compute(instance_type="ml.m5.xlarge", instance_count=1), role=sagemaker.get_execution_role(),
)
trainer.train(wait=True, logs=False)
print("DONE", trainer._latest_training_job.training_job_status)
"""


SHAPES = """
import boto3
from sagemaker_core.main.resources import Experiment, TrainingJob, Trial, TrialComponent

client = boto3.client("sagemaker")
image = "763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.5-cpu-py311"
for script in ("complete", "fail", "wait"):
    client.create_training_job(
        TrainingJobName="shapes-" + script, RoleArn="arn:aws:iam::000000000000:role/clearsight",
        AlgorithmSpecification={"TrainingImage": image, "TrainingInputMode": "File"},
        OutputDataConfig={"S3OutputPath": "s3://dogs/"}, StoppingCondition={"MaxRuntimeInSeconds": 60},
        ResourceConfig={"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 1},
        HyperParameters={"script": script},
        DebugRuleConfigurations=[{"RuleConfigurationName": "Overfit", "RuleEvaluatorImage": "rules:latest"}],
    )
print("RUNS", TrainingJob.get(training_job_name="shapes-wait").training_job_status)
client.stop_training_job(TrainingJobName="shapes-wait")
for script in ("complete", "fail", "wait"):
    job = TrainingJob.get(training_job_name="shapes-" + script)
    while job.training_job_status in ("InProgress", "Stopping"):
        job.refresh()
    print("ENDED", script, job.training_job_status, len(job.debug_rule_evaluation_statuses))
print("LISTED", len([job for job in TrainingJob.get_all(name_contains="shapes-")]))
client.create_experiment(ExperimentName="shapes")
client.create_trial(TrialName="shapes-first", ExperimentName="shapes")
client.associate_trial_component(TrialComponentName="shapes-fail-aws-training-job", TrialName="shapes-first")
experiment, trial = Experiment.get(experiment_name="shapes"), Trial.get(trial_name="shapes-first")
print("TRIAL", experiment.display_name, trial.experiment_name)
for component in TrialComponent.get_all(trial_name="shapes-first"):
    component.refresh()
    print("COMPONENT", component.status.primary_status, component.metrics[0].count, len(component.parameters))
"""


def test_a_notebook_begins(clients: Clients) -> None:
    bucket, role, account = json.loads(clients.python(BEGINNING).splitlines()[-1])
    assert bucket == "sagemaker-us-east-1-000000000000"
    assert role == "arn:aws:iam::000000000000:role/clearsight"
    assert account == "000000000000"


def test_a_job_is_fitted_with_its_log(clients: Clients) -> None:
    output = clients.python(FIT)
    assert "epoch 2 loss=0.333" in output
    assert "Training - Training image download completed. Training in progress." in output
    assert "Training seconds: 1" in output
    found = dict(line.split(" ", 1) for line in output.splitlines() if line.split(" ")[0].isupper())
    assert found["JOB"].startswith("dogs-20")
    assert found["RULE"] == "NoIssuesFound"
    bucket = "s3://sagemaker-us-east-1-000000000000"
    assert found["ATTACHED"] == f'"resnet50" 1.9 {bucket}/{found["JOB"]}/output/model.tar.gz'
    assert found["METRICS"] in ("1", "2"), "a point a minute, of a job of a second"


def test_a_model_trainer_trains(clients: Clients) -> None:
    assert "DONE Completed" in clients.python(TRAINER)


def test_descriptions_have_the_shapes_of_the_sdks_own_classes(clients: Clients) -> None:
    """Their pydantic models refuse nulls and empty structures, which botocore lets pass; v3 of the SDK has the same."""
    lines = clients.python(SHAPES).splitlines()
    assert [line for line in lines if line.split(" ")[0].isupper()] == [
        "RUNS InProgress",
        "ENDED complete Completed 1",
        "ENDED fail Failed 1",
        "ENDED wait Stopped 1",
        "LISTED 3",
        "TRIAL shapes shapes",
        "COMPONENT Failed 3 4",
    ]


PROFILER = """
import sagemaker
from sagemaker.debugger import FrameworkProfile, ProfilerRule, rule_configs
from sagemaker.pytorch import PyTorch

open("train.py", "w").write("print('never run')")
estimator = PyTorch(
    entry_point="train.py", role=sagemaker.get_execution_role(), framework_version="1.9", py_version="py38",
    instance_count=1, instance_type="ml.g4dn.xlarge", hyperparameters={"script": "wait"},
)
estimator.fit(wait=False, job_name="profiled")

def show(word):
    job = estimator.latest_training_job.describe()
    rules = [rule["RuleConfigurationName"] for rule in job.get("ProfilerRuleConfigurations", [])]
    print(word, job["ProfilingStatus"], job["ProfilerConfig"].get("ProfilingIntervalInMilliseconds"), *rules)

estimator.disable_profiling()
show("DISABLED")
estimator.enable_default_profiling()
show("ENABLED")
rule = ProfilerRule.sagemaker(rule_configs.ProfilerReport(), name="Report")
estimator.update_profiler(
    rules=[rule], system_monitor_interval_millis=100, framework_profile_params=FrameworkProfile(num_steps=2)
)
show("UPDATED")
estimator.latest_training_job.stop()
"""


def test_the_profiler_of_a_running_job_is_changed(clients: Clients) -> None:
    lines = clients.python(PROFILER).splitlines()
    assert "DISABLED Disabled None" in lines
    assert "ENABLED Enabled 500" in lines or "ENABLED Enabled None" in lines
    assert "UPDATED Enabled 100 Report" in lines
