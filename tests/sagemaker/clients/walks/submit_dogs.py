"""Why the accuracy of 14 epochs has 3 points: python submit_dogs.py FOLDER_OF_SCRIPTS FOLDER_OF_IMAGES"""

import sys

from sagemaker.debugger import DebuggerHookConfig
from sagemaker.pytorch import PyTorch

import sagemaker
from smdebug.pytorch import modes
from smdebug.trials import create_trial

scripts, images = sys.argv[1:]
session = sagemaker.Session()
training = session.upload_data(images, key_prefix="breeds")


def fit(name, environment):
    """Fit with an interval of 5 steps; return the trial."""
    estimator = PyTorch(
        entry_point=f"{scripts}/train_dogs.py",
        role=sagemaker.get_execution_role(),
        framework_version="1.8",
        py_version="py36",
        instance_count=1,
        instance_type="ml.g4dn.xlarge",
        environment=environment,
        debugger_hook_config=DebuggerHookConfig(
            hook_parameters={"train.save_interval": "5", "eval.save_interval": "1"}
        ),
    )
    estimator.fit({"training": training}, wait=True, job_name=name)
    return create_trial(estimator.latest_job_debugger_artifacts_path())


for name, environment in (("dogs-faithful", {}), ("dogs-lossless", {"CLEARSIGHT_SMDEBUG": "lossless"})):
    trial = fit(name, environment)
    tensor = trial.tensor("epochs_accuracy")
    for mode in (modes.TRAIN, modes.EVAL):
        steps = tensor.steps(mode=mode)
        print(name, mode.name, *(f"{step}:{float(tensor.value(step, mode=mode)):g}" for step in steps))
print("MODULE", trial.tensor_names(regex="Linear|Sequential"))
