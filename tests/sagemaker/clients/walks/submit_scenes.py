"""The notebook of a training on class folders: python submit_scenes.py FOLDER_OF_SCRIPTS FOLDER_OF_IMAGES"""

import os
import sys

import boto3
from sagemaker.debugger import (
    CollectionConfig,
    DebuggerHookConfig,
    FrameworkProfile,
    ProfilerConfig,
    ProfilerRule,
    Rule,
    rule_configs,
)
from sagemaker.pytorch import PyTorch

import sagemaker
from smdebug.profiler.analysis.notebook_utils.timeline_charts import TimelineCharts
from smdebug.profiler.analysis.notebook_utils.training_job import TrainingJob
from smdebug.pytorch import modes
from smdebug.trials import create_trial

scripts, images = sys.argv[1:]
session = sagemaker.Session()
bucket = session.default_bucket()
inputs = {
    channel: session.upload_data(os.path.join(images, channel), bucket=bucket, key_prefix=f"scenes/{channel}")
    for channel in ("train", "valid")
}
intervals = {"train.save_interval": "1", "eval.save_interval": "1"}
loss = {"include_regex": "CrossEntropyLoss_output_0", **intervals}
estimator = PyTorch(
    entry_point="train_scenes.py",
    source_dir=scripts,
    role=sagemaker.get_execution_role(),
    framework_version="1.9",
    py_version="py38",
    instance_count=1,
    instance_type="ml.m5.xlarge",
    hyperparameters={"epochs": 3, "lr": 0.1},
    base_job_name="scenes",
    metric_definitions=[{"Name": "validation loss", "Regex": r"Average validation loss: ([0-9\.]+)"}],
    rules=[
        Rule.sagemaker(rule_configs.loss_not_decreasing()),
        ProfilerRule.sagemaker(rule_configs.ProfilerReport()),
    ],
    debugger_hook_config=DebuggerHookConfig(
        hook_parameters=intervals,
        collection_configs=[CollectionConfig(name="CrossEntropyLoss_output_0", parameters=loss)],
    ),
    profiler_config=ProfilerConfig(
        system_monitor_interval_millis=500, framework_profile_params=FrameworkProfile(num_steps=2)
    ),
)
estimator.fit(inputs, wait=True)
name = estimator.latest_training_job.name
print("JOB", name)

trial = create_trial(estimator.latest_job_debugger_artifacts_path())
tensor = trial.tensor("CrossEntropyLoss_output_0")
print("TRAIN", len(tensor.steps(mode=modes.TRAIN)), "EVAL", len(tensor.steps(mode=modes.EVAL)))
print("VALUE", float(tensor.value(0, mode=modes.TRAIN)) > 0)

job = TrainingJob(name, session.boto_region_name)
job.wait_for_sys_profiling_data_to_be_available()
reader = job.get_systems_metrics_reader()
reader.refresh_event_file_list()
charts = TimelineCharts(reader, framework_metrics_reader=None, select_dimensions=["CPU"], select_events=["total"])
print("CHARTS", type(charts).__name__)

attached = PyTorch.attach(name)
print("ATTACHED", attached.hyperparameters()["epochs"], attached.model_data.endswith(f"{name}/output/model.tar.gz"))
found = boto3.client("sagemaker").describe_training_job(TrainingJobName=name)
print("STATUS", found["TrainingJobStatus"], found["FinalMetricDataList"][0]["MetricName"])
print("RULES", *(item["RuleConfigurationName"] for item in estimator.latest_training_job.rule_job_summary()))
