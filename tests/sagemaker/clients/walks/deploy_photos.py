"""The notebook of a deployment: python deploy_photos.py FOLDER_OF_SCRIPTS WEIGHTS PHOTO.jpg PHOTO.png"""

import base64
import json
import sys
import tarfile
from pathlib import Path

import boto3
import numpy as np
from botocore.exceptions import ClientError
from sagemaker.deserializers import JSONDeserializer
from sagemaker.pytorch import PyTorch, PyTorchModel
from sagemaker.serializers import IdentitySerializer, JSONSerializer
from sagemaker_core.main.resources import Endpoint, EndpointConfig, Model

import sagemaker

scripts, weights, jpeg_file, png_file = sys.argv[1:]
jpeg, png = (Path(path).read_bytes() for path in (jpeg_file, png_file))
session, role = sagemaker.Session(), sagemaker.get_execution_role()
with tarfile.open("model.tar.gz", "w:gz") as archive:
    archive.add(weights, "model.safetensors")
data = session.upload_data("model.tar.gz", key_prefix="photos")
versions = {"framework_version": "1.9", "py_version": "py38"}
model = PyTorchModel(
    model_data=data, role=role, entry_point="inference_photos.py", source_dir=scripts, name="photos", **versions
)
predictor = model.deploy(initial_instance_count=1, instance_type="ml.g4dn.xlarge", endpoint_name="photos")
print()  # the SDK has not ended its line

logits = predictor.predict(np.zeros((2, 3, 224, 224), dtype=np.float32))
print("NPY", logits.shape, logits.dtype)
predictor.serializer, predictor.deserializer = JSONSerializer(), JSONDeserializer()
print("JSON", predictor.predict({"image": base64.b64encode(jpeg).decode()})["label"])
predictor.serializer = IdentitySerializer("image/png")
print("PNG", predictor.predict(png)["label"])
runtime = boto3.client("sagemaker-runtime")


def lambda_handler(event, context):
    response = runtime.invoke_endpoint(
        EndpointName="photos", ContentType="image/jpeg", Body=base64.b64decode(event["body"])
    )
    return {"statusCode": 200, "body": json.loads(response["Body"].read())["label"]}


print("LAMBDA", lambda_handler({"body": base64.b64encode(jpeg).decode()}, None)["body"])
stream = runtime.invoke_endpoint_with_response_stream(EndpointName="photos", ContentType="image/jpeg", Body=jpeg)
print("STREAM", json.loads(b"".join(event["PayloadPart"]["Bytes"] for event in stream["Body"]))["label"])
print("SHAPES", Endpoint.get("photos").endpoint_status, EndpointConfig.get("photos").production_variants[0].model_name)
print("MODEL", Model.get("photos").primary_container.environment["SAGEMAKER_PROGRAM"])
try:
    runtime.invoke_endpoint(EndpointName="photos", ContentType="image/gif", Body=jpeg)
except runtime.exceptions.ModelError as error:
    print("ERROR", error.response["OriginalStatusCode"], error.response["OriginalMessage"].splitlines()[0])
predictor.delete_model()
predictor.delete_endpoint()
sagemaker_client = boto3.client("sagemaker")
sagemaker_client.get_waiter("endpoint_deleted").wait(EndpointName="photos", WaiterConfig={"Delay": 1})
try:
    sagemaker_client.describe_endpoint_config(EndpointConfigName="photos")
except ClientError as error:
    print("DELETED", error.response["Error"]["Message"])

with open("train_nothing.py", "w") as script:
    script.write("import os\nopen(os.environ['SM_MODEL_DIR'] + '/model.pth', 'w').write('a state dict')\n")
estimator = PyTorch(
    entry_point="train_nothing.py", role=role, instance_count=1, instance_type="ml.m5.large",
    debugger_hook_config=False, disable_profiler=True, **versions,
)  # fmt: skip
estimator.fit(wait=False, job_name="nothing")
sagemaker_client.get_waiter("training_job_completed_or_stopped").wait(
    TrainingJobName="nothing", WaiterConfig={"Delay": 1}
)
predictor = estimator.deploy(initial_instance_count=1, instance_type="ml.m5.large")
print()
try:
    predictor.predict(np.zeros(3, dtype=np.float32))
except ClientError as error:
    print("WITHOUT", "Please ensure model is saved using torchscript" in str(error))
group = f"/aws/sagemaker/Endpoints/{predictor.endpoint_name}"
print("LOGGED", len(boto3.client("logs").describe_log_streams(logGroupName=group)["logStreams"]))
predictor.delete_endpoint()
