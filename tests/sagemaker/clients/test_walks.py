"""Notebooks from their first cell to their last, with SDK v2 and jobs that train on real images."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.sagemaker.algorithms.record_writer import image_record, record_file
from tests.sagemaker.clients.conftest import RealService

WALKS = Path(__file__).with_name("walks")


def walk(real: RealService, name: str, data: Path) -> dict[str, str]:
    """Run a notebook; return its lines that begin with a word in capitals, by that word."""
    output = real.clients.run("python", str(WALKS / f"submit_{name}.py"), str(WALKS), str(data))
    assert real.hosts() == "", "a client reaches the service alone"
    lines = (line.partition(" ") for line in output.splitlines())
    return {word: rest for word, _, rest in lines if word.isupper() or word.startswith("dogs-")} | {"all": output}


def test_class_folders_with_a_rule_a_profiler_and_a_trial(real: RealService, scenes: Path, tmp_path: Path) -> None:
    for channel, start in (("train", 0), ("valid", 4)):
        for folder in sorted((scenes / "seg_train").iterdir())[:2]:
            (tmp_path / channel / folder.name).mkdir(parents=True)
            for image in sorted(folder.glob("*.jpg"))[start : start + 4]:
                shutil.copy(image, tmp_path / channel / folder.name)
    found = walk(real, "scenes", tmp_path)
    assert "Epoch 2: Average validation loss: " in found["all"]
    assert found["TRAIN"] == "6 EVAL 6", "every batch of three epochs, though the rule asks for every 500th of `losses`"
    assert found["VALUE"] == "True"
    assert found["CHARTS"] == "TimelineCharts"
    assert found["ATTACHED"] == "3 True"
    assert found["STATUS"] == "Completed validation loss"
    assert found["RULES"] == "LossNotDecreasing ProfilerReport"


@pytest.mark.slow
def test_of_14_accuracies_3_are_saved_and_lossless_saves_all(real: RealService, shared: Path, tmp_path: Path) -> None:
    for folder in sorted((shared / "data" / "dog-breeds" / "train").iterdir())[:2]:
        (tmp_path / folder.name).mkdir()
        for image in sorted(folder.iterdir())[:2]:
            shutil.copy(image, tmp_path / folder.name)
    output = walk(real, "dogs", tmp_path)["all"].splitlines()
    assert "breeds 001.Afghan_hound 002.Airedale" in "\n".join(output)
    # 11 batches: epochs 5 and 10 begin with a step that 5 divides; the first evaluation takes the value of the last.
    assert "dogs-faithful TRAIN 55:4 110:9" in output
    assert "dogs-faithful EVAL 0:13" in output
    [lossless] = [line for line in output if line.startswith("dogs-lossless TRAIN")]
    assert [int(word.partition(":")[2]) for word in lossless.split()[2:]] == [*range(14)]


def test_an_hdf5_file_and_a_table(real: RealService, shared: Path) -> None:
    found = walk(real, "skin", shared / "data" / "isic-2024")
    assert found["all"].count("images=8 malignant=") == 5
    assert found["STATUS"] == "Completed"
    assert found["BATCHES"] == "5 LOSS nll_loss_output_0"
    assert found["KEYS"] == "model.tar.gz output.tar.gz"


def test_photographs_are_processed_transformed_and_explained(real: RealService, scenes: Path, tmp_path: Path) -> None:
    for kind in ("forest", "street"):
        for image in sorted((scenes / "seg_train" / kind).glob("*.jpg"))[:2]:
            shutil.copy(image, tmp_path / f"{kind}-{image.name}")
    output = real.clients.run("python", str(WALKS / "process_scenes.py"), str(tmp_path))
    assert real.hosts() == "", "a client reaches the service alone"
    found = {word: rest for word, _, rest in (line.partition(" ") for line in output.splitlines()) if word.isupper()}
    assert found["PROCESSING"] == "Completed 4"
    assert found["TRANSFORM"].startswith("4 forest-")
    assert found["SCORES"] == "2"
    assert found["CLARIFY"] == "Completed 4"
    assert found["ADDITIVE"] == "True"
    assert found["SHAPES"] == "Completed Completed", "descriptions have the shapes of the SDK's own classes"


def test_the_built_in_algorithm_inside_a_run(real: RealService, scenes: Path, tmp_path: Path) -> None:
    folders = sorted((scenes / "seg_train").iterdir())[:2]
    for channel, part in (("train", slice(0, 4)), ("validation", slice(4, 6))):
        images = [(label, path) for label in (0, 1) for path in sorted(folders[label].glob("*.jpg"))[part]]
        records = (image_record(n, [float(label)], path.read_bytes()) for n, (label, path) in enumerate(images))
        (tmp_path / f"{channel}.rec").write_bytes(record_file(records))
    shutil.copy(next(folders[0].glob("*.jpg")), tmp_path / "photograph.jpg")
    found = walk(real, "builtin", tmp_path)
    assert found["STATUS"] == "Completed train:accuracy validation:accuracy"
    assert found["CONFIG"] == "scenes Default-Run-Group-scenes scenes-first"
    assert found["RUN"] == "first {'depth': 18}"
    assert found["ROWS"] == "scenes-builtin-aws-training-job scenes-first"
    assert found["WARMUP"] == "0.25 2.0"
    assert found["JOB"] == "18.0 scenes"
    assert found["PROBABILITIES"] == "2 1.0"
