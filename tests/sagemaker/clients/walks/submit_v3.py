"""Training, search, endpoint and processing, SDK v3: python submit_v3.py FOLDER_OF_SCRIPTS FOLDER_OF_IMAGES"""

import glob
import json
import sys
import tempfile

import boto3
from sagemaker.core import image_uris
from sagemaker.core.helper.session_helper import Session, get_execution_role
from sagemaker.core.parameter import CategoricalParameter, ContinuousParameter
from sagemaker.core.processing import FrameworkProcessor
from sagemaker.core.shapes import ProcessingInput, ProcessingOutput, ProcessingS3Input, ProcessingS3Output
from sagemaker.serve.model_builder import ModelBuilder
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, SourceCode
from sagemaker.train.tuner import HyperparameterTuner

scripts, images = sys.argv[1:]
session = Session()
bucket = session.default_bucket()
role = get_execution_role(session)
channels = {
    name: session.upload_data(f"{images}/{name}", bucket=bucket, key_prefix=f"v3/{name}") for name in ("train", "valid")
}
image = image_uris.retrieve(
    "pytorch",
    session.boto_region_name,
    version="2.6",
    instance_type="ml.m5.xlarge",
    image_scope="training",
    py_version="py312",
)
trainer = ModelTrainer(
    sagemaker_session=session,
    role=role,
    training_image=image,
    base_job_name="v3-scenes",
    source_code=SourceCode(source_dir=scripts, entry_script="train.py"),
    compute=Compute(instance_type="ml.m5.xlarge", instance_count=1),
    hyperparameters={"epochs": 1, "batch-size": 8, "lr": 0.001},
)
inputs = [InputData(channel_name=name, data_source=uri) for name, uri in channels.items()]
trainer.train(input_data_config=inputs, wait=True, logs=True)
job = trainer._latest_training_job
job.refresh()
print("TRAINED", job.training_job_status, job.model_artifacts.s3_model_artifacts.rpartition("/")[2])

tuner = HyperparameterTuner(
    model_trainer=trainer,
    objective_metric_name="validation loss",
    objective_type="Minimize",
    hyperparameter_ranges={
        "lr": ContinuousParameter(0.0001, 0.01, scaling_type="Logarithmic"),
        "batch-size": CategoricalParameter([8, 12]),
    },
    metric_definitions=[{"Name": "validation loss", "Regex": "validation loss: ([0-9.]+)"}],
    max_jobs=2,
    max_parallel_jobs=2,
    base_tuning_job_name="v3-scenes",
)
tuner.tune(inputs=inputs, wait=True)
best = tuner.best_training_job()
print("BEST", best)
print("STATUS", tuner.describe().hyper_parameter_tuning_job_status)

builder = ModelBuilder(
    s3_model_data_url=job.model_artifacts.s3_model_artifacts,
    image_uri=image.replace("pytorch-training", "pytorch-inference"),
    source_code=SourceCode(source_dir=scripts, entry_script="inference.py"),
    role_arn=role,
    sagemaker_session=session,
    instance_type="ml.m5.large",
)
model = builder.build(model_name="v3-scenes")
endpoint = builder.deploy(endpoint_name="v3-scenes", initial_instance_count=1, instance_type="ml.m5.large")
photo = glob.glob(f"{images}/valid/forest/*.jpg")[0]
with open(photo, "rb") as file:
    answer = endpoint.invoke(body=file.read(), content_type="image/jpeg", accept="application/json")
print("\nCLASSES", *sorted(json.loads(answer.body.read())))
endpoint.delete()
model.delete()
print("DELETED", not boto3.client("sagemaker").list_models()["Models"])

program = tempfile.mkdtemp()
with open(f"{program}/count.py", "w") as file:
    file.write(
        "import os\n"
        "images = sum(len(names) for *_, names in os.walk('/opt/ml/processing/input/photos'))\n"
        "open('/opt/ml/processing/output/count.txt', 'w').write(str(images))\n"
    )
photos = ProcessingS3Input(
    s3_uri=channels["train"],
    local_path="/opt/ml/processing/input/photos",
    s3_data_type="S3Prefix",
    s3_input_mode="File",
)
result = ProcessingS3Output(
    s3_uri=f"s3://{bucket}/v3/counted", local_path="/opt/ml/processing/output", s3_upload_mode="EndOfJob"
)
processor = FrameworkProcessor(
    image_uri=image,
    role=role,
    instance_count=1,
    instance_type="ml.m5.large",
    sagemaker_session=session,
    base_job_name="v3-count",
    command=["python3"],
)
processor.run(
    code="count.py",
    source_dir=program,
    inputs=[ProcessingInput(input_name="photos", s3_input=photos)],
    outputs=[ProcessingOutput(output_name="count", s3_output=result)],
)
print("\nCOUNTED", session.read_s3_file(bucket, "v3/counted/count.txt"))
