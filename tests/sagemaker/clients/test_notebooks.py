"""The notebooks of examples/sagemaker, from first to last cell, with SDK v2 and jobs that train."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sagemaker.clients.conftest import RealService

EXAMPLES = Path(__file__).parents[3] / "examples" / "sagemaker"
_SECONDS = 300.0  # each takes less than one minute on two idle cores
BREEDS = ["002.Airedale", "009.German_shepherd", "011.Japanese_spaniel"]


def run(real: RealService, notebook: str, shared: Path, *names: str) -> dict[str, Any]:
    """Run every cell of a notebook in a copy of its folder; return variables of it."""
    shutil.copytree(EXAMPLES, real.clients.work, dirs_exist_ok=True)
    program = Path(__file__).with_name("walks") / "run_notebook.py"
    output = real.clients.run("python", str(program), notebook, str(shared), *names, seconds=_SECONDS)
    assert real.hosts() == "", "a client reaches the service alone"
    [line] = [line for line in output.splitlines() if line.startswith("VARIABLES ")]
    found = json.loads(line.removeprefix("VARIABLES "))
    assert isinstance(found, dict)
    return found


def test_dogs_with_alexnet(real: RealService, shared: Path) -> None:
    found = run(real, "dogs_alexnet.ipynb", shared, "rules", "keys", "predictions", "breeds")
    assert found["rules"].keys() == {"VanishingGradient", "ProfilerReport"}
    assert any(key.endswith("profiler-reports/CPUBottleneck.json") for key in found["keys"])
    assert len(found["predictions"]) == 3
    assert {row["breed"] for row in found["predictions"]} <= set(found["breeds"])


@pytest.mark.slow
def test_scenes(real: RealService, shared: Path) -> None:
    found = run(real, "scenes.ipynb", shared, "rules", "losses", "probabilities")
    assert found["rules"] == {"LossNotDecreasing": "NoIssuesFound", "Overfit": "NoIssuesFound"}
    assert (len(found["losses"]["TRAIN"]), len(found["losses"]["EVAL"])) == (4, 4), "every batch of two epochs"
    assert sorted(found["probabilities"]) == ["buildings", "forest", "glacier", "mountain", "sea", "street"]
    assert sum(found["probabilities"].values()) == pytest.approx(1)


@pytest.mark.slow
def test_dogs_with_resnet50(real: RealService, shared: Path) -> None:
    found = run(real, "dogs_resnet50.ipynb", shared, "rules", "predictions")
    assert found["rules"] == {"ClassImbalance": "IssuesFound"}
    assert len(found["predictions"]) == 3
    assert all(row["breed"] in BREEDS for row in found["predictions"].values())


@pytest.mark.slow
def test_lesions(real: RealService, shared: Path) -> None:
    found = run(real, "lesions.ipynb", shared, "rules", "tensors", "answer")
    assert found["rules"].keys() == {"LossNotDecreasing"}
    assert "BCEWithLogitsLoss_output_0" in found["tensors"]
    assert 0 < found["answer"]["malignant"] < 1


@pytest.mark.slow
def test_cifar(real: RealService, shared: Path) -> None:
    found = run(real, "cifar.ipynb", shared, "rules", "checkpoints", "classes")
    assert found["rules"] == {"Overtraining": "NoIssuesFound", "ExplodingTensor": "NoIssuesFound"}
    assert [key.rpartition("/")[2] for key in found["checkpoints"]] == ["newest.pth"]
    assert len(found["classes"]) == 4


@pytest.mark.slow
def test_a_model_from_its_search_to_the_deletion_of_its_endpoint(real: RealService, shared: Path) -> None:
    """`clearsight sagemaker exec -- python whole_story.py KIND EXAMPLES SHARED` does it with each of the examples."""
    program = Path(__file__).with_name("walks") / "whole_story.py"
    output = real.clients.run("python", str(program), "cifar", str(EXAMPLES), str(shared), seconds=400)
    assert real.hosts() == "", "a client reaches the service alone"
    found = dict(line.split(" ", 1) for line in output.splitlines() if line.split(" ")[0].isupper())
    assert found["TUNED"].startswith("6 ['Completed']")
    assert found["PREDICTED"] == "(2, 10) True (1, 10)"
    assert found["TRANSFORMED"] == "60 True"
    assert found["SCALED"] == "2 True"
    assert found["DELETED"].startswith("0 ")
