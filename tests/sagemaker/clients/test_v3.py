"""Version 3 of the SDK, from an environment of its own that `make clients-v3` creates."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from clearsight_sagemaker.state.home import ServiceHome
from tests.sagemaker.client_folder import v3_folder
from tests.sagemaker.clients.conftest import RealService

EXAMPLE = Path(__file__).parents[3] / "examples" / "sagemaker" / "scenes"


@pytest.fixture
def v3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    service = RealService(
        ServiceHome(tmp_path_factory.mktemp("home") / "sagemaker"), v3_folder(), tmp_path_factory.mktemp("work")
    )
    yield service
    service.stop()


@pytest.mark.slow
def test_train_tune_deploy_and_process(v3: RealService, scenes: Path, tmp_path: Path) -> None:
    for channel, start in (("train", 0), ("valid", 4)):
        for folder in sorted((scenes / "seg_train").iterdir())[:2]:
            (tmp_path / channel / folder.name).mkdir(parents=True)
            for image in sorted(folder.glob("*.jpg"))[start : start + 4]:
                shutil.copy(image, tmp_path / channel / folder.name)
    program = Path(__file__).with_name("walks") / "submit_v3.py"
    output = v3.clients.run("python", str(program), str(EXAMPLE), str(tmp_path), seconds=300)
    assert v3.hosts() == "", "a client reaches the service alone"
    found = dict(line.partition(" ")[::2] for line in output.splitlines() if line.split(" ")[0].isupper())
    assert found["TRAINED"] == "Completed model.tar.gz"
    assert found["STATUS"] == "Completed"
    assert found["BEST"].startswith("v3-scenes-")
    assert found["CLASSES"] == "buildings forest"
    assert found["DELETED"] == "True"
    assert found["COUNTED"] == "8"
