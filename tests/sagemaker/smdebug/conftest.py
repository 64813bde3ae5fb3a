"""Fixtures of the distribution `smdebug`: it is on the path, and every test starts without a hook or a job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

DISTRIBUTION = Path(__file__).parents[3] / "src" / "clearsight_sagemaker" / "smdebug_distribution"
if str(DISTRIBUTION) not in sys.path:
    sys.path.insert(0, str(DISTRIBUTION))

Batches = list[tuple[torch.Tensor, torch.Tensor]]


@pytest.fixture(autouse=True)
def _plain_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    from smdebug.core.logger import get_logger
    from smdebug.pytorch import del_hook

    get_logger().setLevel("INFO")
    for name in ("TRAINING_JOB_NAME", "SMDEBUG_CONFIG_FILE_PATH", "CLEARSIGHT_SMDEBUG", "CLEARSIGHT_RUN_FOLDER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SMDEBUG_TRAINING_END_DELAY_REFRESH", "0")
    yield
    del_hook()


@pytest.fixture(scope="session")
def batches(scenes: Path) -> Batches:
    """Seven batches of four grey images (4, 1, 8, 8) of two classes."""
    import numpy as np
    from PIL import Image

    images, labels = [], []
    for label, name in enumerate(("forest", "sea")):
        files = sorted((scenes / "seg_train" / name).glob("*.jpg"))[:14]
        images += [np.asarray(Image.open(file).convert("L").resize((8, 8)), dtype=np.float32) / 255 for file in files]
        labels += [label] * len(files)
    assert len(images) == 28
    inputs, targets = torch.from_numpy(np.stack(images))[:, None], torch.tensor(labels)
    order = torch.arange(28).reshape(2, 14).T.reshape(-1)  # both classes in each batch
    return list(zip(inputs[order].split(4), targets[order].split(4), strict=True))
