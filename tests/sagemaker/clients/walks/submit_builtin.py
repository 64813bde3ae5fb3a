"""A notebook that trains with the built-in image-classification algorithm inside a run of an experiment."""

import json
import sys
from pathlib import Path

from sagemaker.analytics import ExperimentAnalytics
from sagemaker.estimator import Estimator
from sagemaker.experiments.run import Run, list_runs, load_run
from sagemaker.inputs import TrainingInput

import sagemaker

data = Path(sys.argv[2])
session = sagemaker.Session()
role = sagemaker.get_execution_role()
image = sagemaker.image_uris.retrieve(framework="image-classification", region=session.boto_region_name)
channels = {}
for name in ("train", "validation"):
    uri = session.upload_data(str(data / f"{name}.rec"), key_prefix=f"scenes/{name}")
    channels[name] = TrainingInput(uri.rpartition("/")[0], content_type="application/x-recordio")

estimator = Estimator(
    image_uri=image,
    role=role,
    instance_count=1,
    instance_type="ml.p3.2xlarge",
    sagemaker_session=session,
)
estimator.set_hyperparameters(
    num_layers=18,
    image_shape="3,32,32",
    num_classes=2,
    num_training_samples=8,
    mini_batch_size=4,
    epochs=1,
    learning_rate=0.01,
    use_pretrained_model=0,
)
with Run(experiment_name="Scenes", run_name="first", sagemaker_session=session) as run:
    run.log_parameter("depth", 18)
    run.log_metric("warmup", 0.5, step=0)
    run.log_artifact("notes", "s3://scenes/notes.txt", media_type="text/plain")
    estimator.fit(channels, job_name="scenes-builtin")
with load_run(experiment_name="Scenes", run_name="first", sagemaker_session=session) as run:
    run.log_metric("warmup", 0.25, step=1)

job = estimator.latest_training_job.describe()
metrics = {metric["MetricName"] for metric in job["FinalMetricDataList"]}
print("STATUS", job["TrainingJobStatus"], *sorted(metrics))
print("CONFIG", *(job["ExperimentConfig"][name] for name in ("ExperimentName", "TrialName", "RunName")))
[found] = list_runs(experiment_name="scenes", sagemaker_session=session)
print("RUN", found.run_name, found._trial_component.parameters)
frame = ExperimentAnalytics(experiment_name="scenes", sagemaker_session=session).dataframe()
rows = frame.set_index("TrialComponentName")
print("ROWS", *sorted(rows.index))
print("WARMUP", rows.loc["scenes-first", "warmup - Last"], rows.loc["scenes-first", "warmup - Count"])
print("JOB", rows.loc["scenes-builtin-aws-training-job", "num_layers"], *rows.loc["scenes-first", "Experiments"])

predictor = estimator.deploy(initial_instance_count=1, instance_type="ml.m5.large", endpoint_name="scenes-builtin")
photograph = (data / "photograph.jpg").read_bytes()
probabilities = json.loads(predictor.predict(photograph, initial_args={"ContentType": "application/x-image"}))
print()  # the SDK leaves its line of dots open
print("PROBABILITIES", len(probabilities), round(sum(probabilities), 3))
predictor.delete_endpoint()
