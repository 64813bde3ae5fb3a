"""The set-up of a run: process settings that are restored, checks of data and settings, facts for run.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clearsight.core.errors import BadChoice, BadData, BadValue
from clearsight.core.recipe import Recipe
from clearsight.training.distributed import World
from clearsight.workflow.paths import Paths
from clearsight.workflow.prepare.setup import RunSetup
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.run.execute import data_facts, make_setup, run_process


def set_up(data: Path, cache: Path, **settings: Any) -> RunSetup:
    recipe = Recipe().replace(**{"model": "tiny", "weights": "none", "limit": 100, "threads": 1, **settings})
    with run_process(recipe, World()) as placement:
        return make_setup(data, recipe, placement, LaunchContext(paths=Paths(cache=cache, weights=())))


def test_threads_are_those_of_the_recipe_for_the_duration_of_the_run() -> None:
    before = torch.get_num_threads()
    with run_process(Recipe().replace(threads=before + 1), World()) as placement:
        assert torch.get_num_threads() == placement.threads == before + 1
    assert torch.get_num_threads() == before


def test_a_set_up_run_has_its_defaults_resolved(digits: Path, tmp_path: Path) -> None:
    setup = set_up(digits, tmp_path)
    assert setup.recipe.optim.lr is not None
    assert setup.recipe.train.epochs is not None
    assert (len(setup.data.classes), len(setup.train) > len(setup.valid)) == (10, True)
    assert setup.small_images == len(setup.train)  # digits of 8 px, an input of 32
    assert not setup.network.model.training or next(setup.network.model.parameters()).device.type == "cpu"


def test_the_range_of_values_is_in_the_recipe_the_preprocessing_and_the_notices(digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    for file in sorted((digits / "train").rglob("*.png"))[::9]:
        (folder / file.parent.name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(Image.open(file)).astype(np.uint16) * 16).save(folder / file.parent.name / file.name)
    setup = set_up(folder, tmp_path)
    assert setup.recipe.data.value_range == setup.network.preprocess.value_range == (0, 4095)
    assert any("they are read from 0 to 4095" in notice.text for notice in setup.data.notices)
    assert setup.blank_images == 0
    dark = set_up(folder, tmp_path, value_range=(0, 1_000_000))
    assert dark.blank_images == len(dark.train)


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"monitor": "roc_auc"}, BadValue, "needs two classes, and this dataset has 10"),
        ({"rules": "Overfitt"}, BadChoice, "Did you mean Overfit"),
        ({"on_finding": ["stopp"]}, BadChoice, "Did you mean stop"),
    ],
)
def test_impossible_settings_are_refused(
    digits: Path, tmp_path: Path, settings: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        set_up(digits, tmp_path, **settings)


def test_data_without_training_images_are_refused(digits: Path, tmp_path: Path) -> None:
    shutil.copytree(digits / "test", tmp_path / "data" / "test")
    with pytest.raises(BadData, match="training"):
        set_up(tmp_path / "data", tmp_path)


def test_images_of_an_earlier_split_are_counted(digits: Path, tmp_path: Path) -> None:
    for split in ("train", "valid"):
        for name in ("3", "7"):
            shutil.copytree(digits / split / name, tmp_path / "data" / split / name)
    copied = sorted((digits / "train" / "3").iterdir())[0]
    shutil.copy(copied, tmp_path / "data" / "valid" / "3" / "copy.png")
    assert set_up(tmp_path / "data", tmp_path, limit=None).duplicates == {"valid": 1}


def test_facts_about_the_data_are_json(digits: Path, tmp_path: Path) -> None:
    data = set_up(digits, tmp_path).data
    facts = data_facts(digits, data)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["path"], facts["format"], facts["classes"][3]) == (str(digits), "folders", "3")
    assert facts["fingerprint"] == data.fingerprint
    assert sum(facts["counts"]["train"].values()) == len(data.split("train"))
