"""A model from its search to the deletion of its endpoint: python whole_story.py KIND EXAMPLES SHARED

KIND: folder in EXAMPLES, whose scripts train.  SHARED: folder with real images. What was seen is printed as JSON.
"""

import base64
import json
import shutil
import struct
import sys
import tempfile
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import numpy as np
from sagemaker.deserializers import JSONDeserializer
from sagemaker.pytorch import PyTorch, PyTorchModel
from sagemaker.serializers import IdentitySerializer, JSONSerializer
from sagemaker.tuner import CategoricalParameter, ContinuousParameter, HyperparameterTuner, IntegerParameter

import sagemaker
from sagemaker.s3 import S3Downloader

kind, examples, shared = sys.argv[1:]
data = Path(shared) / "data"
session = sagemaker.Session()
bucket, role = session.default_bucket(), sagemaker.get_execution_role()
client, runtime = session.sagemaker_client, boto3.client("runtime.sagemaker")
folder = Path(tempfile.mkdtemp())
IMAGES = 60

OBJECTIVES = {
    "scenes": ("validation loss", "Minimize"),
    "dogs_alexnet": ("valid loss", "Minimize"),
    "dogs_resnet50": ("mean recall", "Maximize"),
    "lesions": ("validation AUC", "Maximize"),
    "cifar": ("test loss", "Minimize"),
}
RANGES = {
    "scenes": {"epochs": IntegerParameter(1, 2), "batch-size": CategoricalParameter([8, 12])},
    "dogs_alexnet": {"epochs": IntegerParameter(1, 2), "head": CategoricalParameter(["128", "256-128"])},
    "dogs_resnet50": {"batch-size": IntegerParameter(6, 8), "weight-decay": CategoricalParameter([0.0, 0.01])},
    "lesions": {"batch-size": IntegerParameter(6, 8), "epochs": CategoricalParameter([1, 2])},
    "cifar": {"epochs": IntegerParameter(1, 2), "batch-size": CategoricalParameter([8, 16])},
}
STATICS = {"lesions": {"images": 16}, "cifar": {"images": 16}, "dogs_alexnet": {"batch-size": 8}}
SOURCES = {"scenes": "intel-scenes", "dogs_alexnet": "dog-breeds", "dogs_resnet50": "dog-breeds"}


def class_folders():
    """Upload a few images of each class; return the channels."""
    source, splits = data / SOURCES[kind], {"train": "train", "valid": "valid"}
    if kind == "scenes":
        splits = {"train": "seg_train", "valid": "seg_test"}
    channels = {}
    for channel, split in splits.items():
        for class_folder in sorted((source / split).iterdir())[:6]:
            (folder / channel / class_folder.name).mkdir(parents=True)
            for image in sorted(class_folder.glob("*.jpg"))[:4]:
                shutil.copy(image, folder / channel / class_folder.name)
        channels[channel] = session.upload_data(str(folder / channel), bucket, f"{kind}/{channel}")
    return channels


def uploaded_inputs():
    """Upload the data of the training; return the channels."""
    if kind in SOURCES:
        return class_folders()
    if kind == "cifar":
        return {"training": session.upload_data(str(data / "cifar-10" / "cifar-10-batches-py"), bucket, "cifar")}
    for name in ("train_split.csv", "train_split-image.hdf5", "val_split.csv", "val_split-image.hdf5"):
        session.upload_data(str(data / "isic-2024" / name), bucket, "lesions")
    return {"training": f"s3://{bucket}/lesions"}


def photographs():
    """Yield 60 JPEG files."""
    if kind == "lesions":
        content, start = (data / "isic-2024" / "train_split-image.hdf5").read_bytes(), 0
        for _ in range(IMAGES):
            start = content.index(b"\xff\xd8\xff", start)
            end = content.index(b"\xff\xd9", start) + 2
            yield content[start:end]
            start = end
        return
    source = data / ("dog-breeds/test" if kind.startswith("dogs") else "intel-scenes/seg_test")
    for path in sorted(source.rglob("*.jpg"))[:IMAGES]:
        yield path.read_bytes()


def png(pixels):
    """Return a PNG file of pixels (H, W, 3) uint8."""
    height, width, _ = pixels.shape

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def lambda_handler(event, context):
    """Classify an image, as a Lambda function does."""
    response = runtime.invoke_endpoint(
        EndpointName=event["endpoint"], ContentType="image/png", Body=base64.b64decode(event["image_data"])
    )
    return {"statusCode": 200, "body": response["Body"].read().decode()}


def show(word, *values):
    """Print a line of its own: the SDK leaves lines open."""
    print(f"\n{word}", *values, flush=True)


def main():
    """Walk the story; print what was seen."""
    started, inputs = time.time(), uploaded_inputs()
    metric, direction = OBJECTIVES[kind]
    shutil.copytree(Path(examples) / kind, folder / "source")
    shutil.copy(Path(__file__).with_name("serve_any_body.py"), folder / "source")
    versions = {"framework_version": "2.6", "py_version": "py312", "source_dir": str(folder / "source"), "role": role}
    estimator = PyTorch(
        entry_point="train.py",
        instance_count=1,
        instance_type="ml.m5.xlarge",
        hyperparameters=STATICS.get(kind, {}),
        base_job_name=kind.replace("_", "-"),
        debugger_hook_config=False,
        **versions,
    )
    tuner = HyperparameterTuner(
        estimator,
        objective_metric_name=metric,
        objective_type=direction,
        hyperparameter_ranges={"lr": ContinuousParameter(1e-4, 1e-2, scaling_type="Logarithmic"), **RANGES[kind]},
        metric_definitions=[{"Name": metric, "Regex": f"{metric}: ([0-9.]+)"}],
        max_jobs=6,
        max_parallel_jobs=2,
        base_tuning_job_name=kind.replace("_", "-"),
    )
    tuner.fit(inputs)
    attached = HyperparameterTuner.attach(tuner.latest_tuning_job.name)
    table = attached.analytics().dataframe()
    best = PyTorch.attach(attached.best_training_job())
    print(
        "TUNED", len(table), sorted(table["TrainingJobStatus"].unique()), f"{time.time() - started:.0f} s", flush=True
    )

    model = PyTorchModel(model_data=best.model_data, entry_point="serve_any_body.py", **versions)
    predictor = model.deploy(initial_instance_count=1, instance_type="ml.m5.large")
    files = [*photographs()]
    side = 32 if kind == "cifar" else 64
    from_npy = predictor.predict(np.zeros((2, 3, side, side), "float32"))
    predictor.deserializer = JSONDeserializer()
    predictor.serializer = IdentitySerializer(content_type="image/jpeg")
    from_jpeg = predictor.predict(files[0])
    predictor.serializer = JSONSerializer()
    from_json = predictor.predict({"image": base64.b64encode(files[0]).decode()})
    s3 = boto3.client("s3")
    s3.put_object(Bucket=bucket, Key="photo.jpg", Body=files[0])
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "photo.jpg"})
    from_url = predictor.predict({"url": url})
    picture = png(np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3).astype(np.uint8))
    event = {"endpoint": predictor.endpoint_name, "image_data": base64.b64encode(picture).decode()}
    from_lambda = json.loads(lambda_handler(event, None)["body"])
    show("PREDICTED", np.shape(from_npy), from_jpeg == from_json == from_url, np.shape(from_lambda))

    for number, body in enumerate(files):
        s3.put_object(Bucket=bucket, Key=f"{kind}/unknown/{number:02}.jpg", Body=body)
    transformer = model.transformer(1, "ml.m5.large", output_path=f"s3://{bucket}/{kind}/predictions")
    transformer.transform(f"s3://{bucket}/{kind}/unknown/", content_type="image/jpeg", wait=True, logs=False)
    results = sorted(S3Downloader.list(transformer.output_path))
    same = json.loads(S3Downloader.read_file(results[0])) == from_jpeg
    show("TRANSFORMED", len(results), same)

    scaling = boto3.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{predictor.endpoint_name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    scaling.put_scaling_policy(
        **target,
        PolicyName="load",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 20.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleOutCooldown": 0,
        },
    )
    predictor.serializer = IdentitySerializer(content_type="image/jpeg")
    end, answers, instances = time.time() + 120, 0, 1
    with ThreadPoolExecutor(4) as threads:
        while instances < 2 and time.time() < end:
            answers += sum(answer == from_jpeg for answer in threads.map(predictor.predict, files[:1] * 8))
            [variant] = client.describe_endpoint(EndpointName=predictor.endpoint_name)["ProductionVariants"]
            instances = variant["CurrentInstanceCount"]
    show("SCALED", instances, answers % 8 == 0)

    scaling.deregister_scalable_target(**target)
    session.wait_for_endpoint(predictor.endpoint_name, poll=1)  # one that is scaled right now cannot be deleted
    transformer.delete_model()
    predictor.delete_model()
    predictor.delete_endpoint()
    client.get_waiter("endpoint_deleted").wait(EndpointName=predictor.endpoint_name)
    left = [*client.list_endpoints()["Endpoints"], *client.list_endpoint_configs()["EndpointConfigs"]]
    left += client.list_models()["Models"]
    show("DELETED", len(left), f"{time.time() - started:.0f} s")
    shutil.rmtree(folder)


main()
