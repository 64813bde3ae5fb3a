"""A channel with an HDF5 file and one with a table: python submit_skin.py FOLDER_OF_SCRIPTS FOLDER_OF_DATA"""

import sys

from sagemaker.debugger import DebuggerHookConfig
from sagemaker.inputs import TrainingInput
from sagemaker.pytorch import PyTorch

import sagemaker
from smdebug.trials import create_trial

scripts, data = sys.argv[1:]
session = sagemaker.Session()
images = session.upload_data(f"{data}/val_split-image.hdf5", key_prefix="skin/images")
labels = session.upload_data(f"{data}/val_split.csv", key_prefix="skin/labels")
estimator = PyTorch(
    entry_point="train_skin.py",
    source_dir=scripts,
    role=sagemaker.get_execution_role(),
    framework_version="1.13.1",
    py_version="py39",
    instance_count=1,
    instance_type="ml.m5.large",
    hyperparameters={"batch-size": 8},
    debugger_hook_config=DebuggerHookConfig(hook_parameters={"save_interval": "1"}),
)
inputs = {"images": TrainingInput(images), "labels": TrainingInput(labels, content_type="text/csv")}
estimator.fit(inputs, wait=False)
job = estimator.latest_training_job
job.wait(logs="All")
print("STATUS", job.describe()["TrainingJobStatus"])
trial = create_trial(estimator.latest_job_debugger_artifacts_path())
print("BATCHES", len(trial.tensor("batch_mean").steps()), "LOSS", *trial.tensor_names(regex="nll_loss"))
print(
    "KEYS", *(key.rpartition("/")[2] for key in session.list_s3_files(session.default_bucket(), f"{job.name}/output"))
)
