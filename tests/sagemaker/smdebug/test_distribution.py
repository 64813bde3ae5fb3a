"""The distribution: numpy is all it needs, pip counts it as installed, and a job's run opens in clearsight."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import clearsight
import smdebug
import smdebug.pytorch as smd
from tests.sagemaker.smdebug.conftest import DISTRIBUTION, Batches
from tests.sagemaker.smdebug.test_hook import Net, train


def modules() -> list[str]:
    paths = sorted(path.relative_to(DISTRIBUTION) for path in DISTRIBUTION.rglob("*.py"))
    return [".".join(path.with_suffix("").parts).replace(".__init__", "") for path in paths]


def test_everything_is_imported_with_numpy_alone() -> None:
    """A bare interpreter: no site-packages but a folder with numpy, as in a user's own environment."""
    numpy_folder = str(Path(np.__file__).parents[1])
    code = f"""
import sys
sys.path.append({str(DISTRIBUTION)!r})
class OnlyNumpy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "pandas", "bokeh", "plotly", "boto3", "clearsight", "packaging", "six"):
            raise ImportError(name + " must not be imported")
sys.meta_path.insert(0, OnlyNumpy())
sys.path.append({numpy_folder!r})
for name in {modules()!r}:
    __import__(name)
import smdebug, smdebug.pytorch
print(smdebug.__version__, smdebug.pytorch.get_hook(create_if_not_exists=True))
"""
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env={}, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "1.0.34+clearsight None"


def test_pip_counts_it_as_installed() -> None:
    (found,) = importlib.metadata.distributions(name="smdebug", path=[str(DISTRIBUTION)])
    assert (found.version, found.requires) == (smdebug.__version__, ["numpy"])
    assert found.metadata["Requires-Python"] == ">=3.8"


def test_a_script_that_never_mentions_smdebug_is_recorded(tmp_path: Path) -> None:
    config = {"LocalPath": str(tmp_path / "tensors"), "CollectionConfigurations": [{"CollectionName": "gradients"}]}
    (tmp_path / "debughookconfig.json").write_text(json.dumps(config))
    (tmp_path / "sitecustomize.py").write_text("from smdebug.pytorch.zero_code_change import install\ninstall()\n")
    (tmp_path / "train.py").write_text(
        "import torch\nimport torch.nn.functional as F\nfrom torch.nn.functional import cross_entropy\n"
        "model = torch.nn.Linear(4, 2)\n"
        "cross_entropy(model(torch.ones(3, 4)), torch.tensor([0, 1, 1])).backward()\n"
    )
    environment = {
        "PYTHONPATH": f"{tmp_path}:{DISTRIBUTION}",
        "TRAINING_JOB_NAME": "scenes-1",
        "SMDEBUG_CONFIG_FILE_PATH": str(tmp_path / "debughookconfig.json"),
        "OMP_NUM_THREADS": "1",
        "CLEARSIGHT_RUN_FOLDER": str(tmp_path / "run"),
    }
    done = subprocess.run(
        [sys.executable, str(tmp_path / "train.py")], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "tensors" / "training_job_end.ts").touch()
    names = smd.create_trial(str(tmp_path / "tensors")).tensor_names(step=0)
    assert names == ["gradient/Linear_bias", "gradient/Linear_weight", "nll_loss_output_0"]


def test_the_run_of_a_job_opens_in_clearsight(
    tmp_path: Path, batches: Batches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLEARSIGHT_RUN_FOLDER", str(tmp_path / "run"))
    hook = smd.Hook(str(tmp_path / "tensors"), include_collections=["gradients"])
    model = Net()
    hook.register_module(model)
    train(hook, model, batches * 2)
    hook.save_scalar("epoch_accuracy", 0.75)
    hook.close()
    assert hook.step == 13, "forward passes of clearsight's own are no steps"
    saved = smd.create_trial(str(tmp_path / "tensors"))
    # The gradients of step 0, and the number that was flushed when the hook closed.
    assert saved.steps(mode=smd.modes.TRAIN) == [0, 13]
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["value"] for line in lines if line["name"] == "loss"]
    assert len(losses) == 14
    loss = float(saved.tensor("CrossEntropyLoss_output_0").value(0, mode=smd.modes.TRAIN))
    assert losses[0] == pytest.approx(loss, rel=1e-5)
    assert [line["value"] for line in lines if line["name"] == "epoch_accuracy"] == [0.75]
    assert clearsight.debug(str(tmp_path / "run")).findings
