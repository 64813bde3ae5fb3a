"""A notebook that sorts photographs by a processing job, transforms them by a model, and explains the model.

python process_scenes.py FOLDER_OF_PHOTOS
"""

import io
import json
import sys
import tarfile
from pathlib import Path

from sagemaker.pytorch import PyTorchModel
from sagemaker.pytorch.processing import PyTorchProcessor
from sagemaker_core.main.resources import ProcessingJob, TransformJob

import sagemaker
from sagemaker import clarify
from sagemaker.processing import ProcessingInput, ProcessingOutput
from sagemaker.s3 import S3Downloader

session = sagemaker.Session()
role, bucket = sagemaker.get_execution_role(), session.default_bucket()
photos = session.upload_data(sys.argv[1], bucket=bucket, key_prefix="scenes/photos")

Path("sizes.py").write_text("""
import argparse, json, pathlib
from PIL import Image
parser = argparse.ArgumentParser()
parser.add_argument("--side", type=int)
side = parser.parse_args().side
for path in sorted(pathlib.Path("/opt/ml/processing/input").glob("*.jpg")):
    Image.open(path).resize((side, side)).save(f"/opt/ml/processing/small/{path.name}")
""")
processor = PyTorchProcessor(
    framework_version="2.0", py_version="py310", role=role, instance_count=1, instance_type="ml.m5.xlarge"
)
processor.run(
    code="sizes.py",
    arguments=["--side", "96"],
    inputs=[ProcessingInput(source=photos, destination="/opt/ml/processing/input")],
    outputs=[ProcessingOutput(source="/opt/ml/processing/small", output_name="small")],
)
small = processor.latest_job.outputs[0].destination
print("PROCESSING", processor.latest_job.describe()["ProcessingJobStatus"], len(S3Downloader.list(small)))

# Forests are green: a model that needs no training, and whose scores come from the green parts of an image.
Path("inference.py").write_text("""
import io, json
import numpy as np
from PIL import Image
def model_fn(model_dir): return None
def input_fn(body, content_type):
    if content_type == "application/x-npy":
        return np.load(io.BytesIO(body)).astype(float)
    return np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(float)[None]
def predict_fn(images, model):
    green = (images[..., 1] > images[..., [0, 2]].max(axis=-1)).mean(axis=(1, 2))
    return np.stack([green, 1 - green], axis=1).tolist()
def output_fn(scores, accept): return json.dumps(scores), "application/json"
""")
with tarfile.open("model.tar.gz", "w:gz") as archive:
    archive.addfile(tarfile.TarInfo("nothing.txt"), io.BytesIO())
model = PyTorchModel(
    model_data=session.upload_data("model.tar.gz", bucket=bucket, key_prefix="scenes/model"),
    role=role, entry_point="inference.py", framework_version="2.0", py_version="py310",
)  # fmt: skip
transformer = model.transformer(
    instance_count=1, instance_type="ml.m5.xlarge", max_concurrent_transforms=2, output_path=f"s3://{bucket}/scenes/out"
)
transformer.transform(small, content_type="image/jpeg", wait=True, logs=True)
results = sorted(S3Downloader.list(transformer.output_path))
print("TRANSFORM", len(results), results[0].rpartition("/")[2])
print("SCORES", len(json.loads(S3Downloader.read_file(results[0]))[0]))

processor = clarify.SageMakerClarifyProcessor(
    role=role, instance_count=1, instance_type="ml.m5.xlarge", sagemaker_session=session
)
output = f"s3://{bucket}/scenes/explained"
processor.run_explainability(
    data_config=clarify.DataConfig(s3_data_input_path=small, s3_output_path=output, dataset_type="application/x-image"),
    model_config=clarify.ModelConfig(
        model_name=model.name, instance_type="ml.m5.xlarge", instance_count=1, content_type="application/x-npy"
    ),
    model_scores=clarify.ModelPredictedLabelConfig(label_headers=["forest", "other"]),
    explainability_config=clarify.SHAPConfig(
        num_samples=80, seed=1, image_config=clarify.ImageConfig(model_type="IMAGE_CLASSIFICATION", num_segments=12)
    ),
)
files = [uri.removeprefix(f"{output}/") for uri in S3Downloader.list(output)]
print("CLARIFY", processor.latest_job.describe()["ProcessingJobStatus"], sum(name.endswith(".jpeg") for name in files))
[first, *_] = json.loads(S3Downloader.read_file(f"{output}/analysis.json"))["explanations"]["kernel_shap"]["images"]
gain = first["scores"]["forest"] - first["baseline_scores"]["forest"]
shapes = ProcessingJob.get(processor.latest_job.job_name), TransformJob.get(transformer.latest_transform_job.name)
print("SHAPES", shapes[0].processing_job_status, shapes[1].transform_job_status)
print("ADDITIVE", abs(sum(first["shap_values"]["forest"]) - gain) < 1e-9)
