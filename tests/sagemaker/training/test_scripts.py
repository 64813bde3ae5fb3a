"""Scripts as people write them for SageMaker run unchanged: torch, pretrained weights, "cuda", profiling, debugging."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from clearsight_sagemaker.training.container_files import synced_folders
from clearsight_sagemaker.training.environment import gpus
from clearsight_sagemaker.training.processes.system_metrics import MachineGauges
from tests.sagemaker.training.conftest import JobRun

TRAINING = """
import argparse, json, os
import torch
from torchvision import datasets, transforms

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=1)
parser.add_argument("--batch-size", type=int, default=8)
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
parser.add_argument("--model-dir", default=os.environ["SM_MODEL_DIR"])
args = parser.parse_args()
torch.manual_seed(0)
size = transforms.Compose([transforms.Resize((16, 16)), transforms.ToTensor()])
images = datasets.ImageFolder(args.train, size)
loader = torch.utils.data.DataLoader(images, batch_size=args.batch_size, shuffle=True)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 16 * 16, len(images.classes)))
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
criterion = torch.nn.CrossEntropyLoss()
for epoch in range(args.epochs):
    total = 0.0
    for batch, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(batch), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)
    print(f"Epoch {epoch}: Training Loss: {total / len(images):.4f}")
torch.save(model.state_dict(), os.path.join(args.model_dir, "model.pth"))
with open(os.path.join(args.model_dir, "classes.json"), "w") as file:
    json.dump(images.classes, file)
"""


def test_a_torch_script_learns_from_class_folders(job: JobRun, scenes: Path) -> None:
    folders = sorted(path for path in (scenes / "seg_train").iterdir() if path.is_dir())[:2]
    for folder in folders:
        for image in sorted(folder.glob("*.jpg"))[:8]:
            job.put(f"scenes/train/{folder.name}/{image.name}", image.read_bytes())
    job.channel("train", "s3://photos/scenes/train")
    job.request["HyperParameters"] |= {"epochs": "8", "batch-size": '"8"', "lr": "0.02"}
    job.request["AlgorithmSpecification"]["MetricDefinitions"] = [
        {"Name": "train:loss", "Regex": r"Training Loss: ([0-9\.]+)"},
        {"Name": "Average validation loss", "Regex": r"Validation Loss: ([0-9\.]+)"},
    ]
    job.code(TRAINING)
    assert job.run() == "Completed", job.log
    losses = [event["value"] for event in job.events if event["kind"] == "metric"]
    assert len(losses) == 8
    assert min(losses[4:]) < losses[0]
    assert any("'Average validation loss': no line gave a number" in line for line in job.log)
    members = job.archive("job-1/output/model.tar.gz")
    assert set(members) == {"model.pth", "classes.json"}
    assert json.loads(members["classes.json"]) == [folder.name for folder in folders]


CUDA_AND_WEIGHTS = """
import os, threading
import torch
from torch.hub import load_state_dict_from_url

device = torch.device("cuda:0")
model = torch.nn.Linear(4, 2).to(device)
moved = torch.nn.Linear(4, 2).cuda()
batch = torch.ones(3, 4, device="cuda")
print("output on", model(batch).device, moved(torch.ones(1, 4).to(0)).device, torch.zeros(2).cuda().pin_memory().device)
torch.cuda.synchronize()
results = []
thread = threading.Thread(target=lambda: results.append(torch.ones(1).to("cuda").device.type))
thread.start()
thread.join()
print("thread on", results[0])
path = os.path.join(os.environ["SM_MODEL_DIR"], "model.pth")
torch.save(model.state_dict(), path)
print("loaded on", torch.load(path, map_location=device)["weight"].device)
state = load_state_dict_from_url("http://127.0.0.1:9/models/tiny-12345678.pth", progress=False)
print("weights", state["weight"].tolist())
load_state_dict_from_url("http://127.0.0.1:9/models/large-12345678.pth", progress=False)
"""


@pytest.mark.skipif(gpus() > 0, reason="this machine has a GPU")
def test_cuda_is_the_cpu_and_weights_come_from_this_machine(job: JobRun, tmp_path: Path) -> None:
    import torch

    job.weights = (tmp_path / "weights",)
    job.weights[0].mkdir()
    torch.save({"weight": torch.ones(2)}, job.weights[0] / "tiny-12345678.pth")
    job.request["ResourceConfig"]["InstanceType"] = "ml.g4dn.xlarge"
    job.variables = {"TORCH_HOME": str(tmp_path / "torch")}
    job.code(CUDA_AND_WEIGHTS)
    assert job.run() == "Failed"
    log = "\n".join(job.log)
    assert 'instance type ml.g4dn.xlarge has a GPU, and this machine has none: device "cuda" is the CPU' in log
    assert "output on cpu cpu cpu" in job.log, log
    assert "thread on cpu" in job.log
    assert "loaded on cpu" in job.log
    assert "weights [1.0, 1.0]" in job.log
    assert "weights large-12345678.pth: not on this machine" in job.reason
    assert str(job.weights[0]) in job.reason


def test_nothing_is_imported_before_the_script_asks_for_it(job: JobRun) -> None:
    job.request["ResourceConfig"]["InstanceType"] = "ml.g4dn.xlarge"
    job.code(
        "import json, sys\n"
        "print(json.dumps([name for name in ('torch', 'numpy') if name in sys.modules]))\n"
        "import sagemaker_inference.encoder as encoder, sagemaker_inference.decoder as decoder\n"
        "from sagemaker_inference import content_types\n"
        "for kind in (content_types.JSON, content_types.CSV, content_types.NPY):\n"
        "    array = decoder.decode(encoder.encode([[1.0, 2.0], [3.0, 4.5]], kind), kind)\n"
        "    print(kind, array.tolist())\n"
    )
    assert job.run() == "Completed", job.log
    assert "[]" in job.log
    for kind in ("application/json", "text/csv", "application/x-npy"):
        assert f"{kind} [[1.0, 2.0], [3.0, 4.5]]" in job.log


def test_a_sitecustomize_of_the_job_is_run_too(job: JobRun) -> None:
    job.code("import sys\nprint(sys.customized)\n", {"sitecustomize.py": "import sys\nsys.customized = 'by the job'\n"})
    assert job.run() == "Completed", job.log
    assert "by the job" in job.log


def test_tensors_and_checkpoints_are_objects_while_the_job_runs(job: JobRun) -> None:
    job.request["DebugHookConfig"] = {"S3OutputPath": "s3://photos/debug", "CollectionConfigurations": []}
    job.request["CheckpointConfig"] = {"S3Uri": "s3://photos/checkpoints/a"}
    job.put("checkpoints/a/epoch-1.pt", b"1")
    end = job.store.folder / "photos" / "debug" / "job-1" / "debug-output" / "index" / "0.json"
    job.code(
        "import json, os, pathlib, time\n"
        "ml = pathlib.Path(os.environ['SAGEMAKER_BASE_DIR'])\n"
        "assert (ml / 'checkpoints' / 'epoch-1.pt').read_text() == '1'\n"
        "(ml / 'checkpoints' / 'epoch-2.pt').write_text('2')\n"
        "tensors = pathlib.Path(json.load(open(ml / 'input/config/debughookconfig.json'))['LocalPath'])\n"
        "(tensors / 'index').mkdir(parents=True)\n"
        "(tensors / 'index' / '0.json').write_text('{}')\n"
        "(tensors / 'index' / '1.json.tmp').write_text('{')\n"
        f"uploaded = pathlib.Path({str(end)!r})\n"
        "limit = time.monotonic() + 20\n"
        "while not uploaded.exists() and time.monotonic() < limit: time.sleep(0.05)\n"
        "print('uploaded', uploaded.exists(), flush=True)\n"
        "(tensors / 'index' / '2.json').write_text('{}')\n"
    )
    assert job.run() == "Completed", job.log
    assert "uploaded True" in job.log
    outputs = [key.removeprefix("debug/job-1/debug-output/") for key in job.keys("debug/")]
    assert outputs == ["index/0.json", "index/2.json", "training_job_end.ts"]
    assert job.keys("checkpoints/") == ["checkpoints/a/epoch-1.pt", "checkpoints/a/epoch-2.pt"]


def test_the_load_of_the_machine_is_in_the_profilers_format(job: JobRun) -> None:
    job.request["ProfilerConfig"] = {"S3OutputPath": "s3://photos/", "ProfilingIntervalInMilliseconds": 100}
    job.code("sum(number * number for number in range(3_000_000))\n")
    assert job.run() == "Completed"
    keys = job.keys("job-1/profiler-output/system/")
    assert keys
    rows = []
    for key in keys:
        hour, name = key.split("/")[-2:]
        minute, node, end = name.split(".")
        assert (len(hour), len(minute), int(minute) % 60, node, end) == (10, 10, 0, "algo-1", "json")
        rows += [json.loads(line) for line in job.get(key).splitlines()]
    assert {"cpu", "memory", "network", "i/o"} <= {row["Type"] for row in rows}
    assert all(set(row) == {"Type", "Name", "Dimension", "Value", "NodeId", "Timestamp"} for row in rows)
    used = [row["Value"] for row in rows if row["Dimension"] == "CPUUtilization"]
    assert 0 <= min(used) <= max(used) <= 100
    assert max(used) > 20  # the script counts
    [event] = [event for event in job.events if event["kind"] == "profiling"]
    assert event["uri"] == "s3://photos/job-1/profiler-output"


def test_without_a_profiler_nothing_is_read(job: JobRun) -> None:
    job.request["ProfilerConfig"] = {"S3OutputPath": "s3://photos/", "DisableProfiler": True}
    job.code("print(1)\n")
    assert job.run() == "Completed"
    assert job.keys("job-1/profiler-output/") == []


def test_files_without_an_archive_and_links(job: JobRun) -> None:
    job.request["OutputDataConfig"]["CompressionType"] = "NONE"
    job.code(
        "import os, pathlib\n"
        "model = pathlib.Path(os.environ['SM_MODEL_DIR'])\n"
        "(model / 'code').mkdir()\n"
        "(model / 'code' / 'inference.py').write_text('1')\n"
        "(model / 'best.pth').symlink_to(model / 'code' / 'inference.py')\n"
        "(model / 'secrets').symlink_to('/etc/passwd')\n"
    )
    assert job.run() == "Completed"
    keys = job.keys("job-1/output/")
    assert keys == ["job-1/output/model/best.pth", "job-1/output/model/code/inference.py"]
    assert "secrets of model is not uploaded: it is no file of the job." in job.log


class OneGpu:
    """Management library of a machine with one GPU, half of whose memory is used."""

    NVMLError = RuntimeError

    def nvmlInit(self) -> None:  # noqa: N802
        self.open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=8 << 30, total=16 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=97, memory=40)


def test_gpus_are_in_the_profilers_format() -> None:
    library = OneGpu()
    with MachineGauges(library) as gauges:
        rows = [row for row in gauges.read() if row["Type"] == "gpu"]
    assert rows == [
        {"Type": "gpu", "Name": "gpu0", "Dimension": "GPUUtilization", "Value": 97.0},
        {"Type": "gpu", "Name": "gpu0", "Dimension": "GPUMemoryUtilization", "Value": 50.0},
    ]
    assert not library.open


def test_results_of_a_section_are_below_the_job(job: JobRun) -> None:
    job.request |= {
        "TensorBoardOutputConfig": {"S3OutputPath": "s3://photos/board/"},
        "ProfilerConfig": {
            "S3OutputPath": "s3://photos",
            "ProfilingParameters": {"LocalPath": "/opt/ml/output/profiler"},
        },
    }
    folders = {part.name: (part.container, part.uri) for part in synced_folders(job.request, "s3://photos/between/")}
    assert folders == {
        "tensorboard-output": ("/opt/ml/output/tensorboard", "s3://photos/board/job-1/tensorboard-output"),
        "profiler-output": ("/opt/ml/output/profiler", "s3://photos/job-1/profiler-output"),
        "intermediate": ("/opt/ml/output/intermediate", "s3://photos/between/"),
    }


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="pip needs setuptools for a setup.py")
def test_a_package_with_a_setup_file_is_installed_for_the_job(job: JobRun) -> None:
    job.job_environment = {"PIP_NO_INDEX": "1"}
    setup = "setup(name='labels', version='1', package_dir={'': 'src'}, packages=['labels'])\n"
    files = {"setup.py": f"from setuptools import setup\n{setup}", "src/labels/__init__.py": "NAMES = ['cat', 'dog']\n"}
    job.code("import labels\nprint(__name__, labels.NAMES)\n", files)
    assert job.run() == "Completed", job.log
    assert "__main__ ['cat', 'dog']" in job.log
