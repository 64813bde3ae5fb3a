"""quickstart: the whole main job on data that comes with the installation, in about a minute."""

from __future__ import annotations

import itertools
import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from clearsight.core.files import write_json
from clearsight.core.recipe import Recipe
from clearsight.core.run import Run
from clearsight.workflow.audit import AuditResult, audit
from clearsight.workflow.run.context import LaunchContext
from clearsight.workflow.serve import ServeOptions, serving
from clearsight.workflow.train import train

BASE = Recipe().replace(
    model="tiny", weights="none", image_size=32, epochs=12, batch_size=64, lr=4e-3, weight_decay=0.02, seed=0
)
CANDIDATES: tuple[dict[str, Any], ...] = ({"lr": 1e-3}, {"lr": 4e-3}, {"lr": 1.6e-2})
_TRIAL_EPOCHS = 2  # enough to tell the three learning rates apart
_SHARES = {"train": 0.7, "valid": 0.15, "test": 0.15}


@dataclass(frozen=True, kw_only=True)
class EndpointReply:
    """Reply of the endpoint to one image, and the true class."""

    image: Path
    truth: str
    response: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Callbacks that show each step when it is done."""

    audited: Callable[[AuditResult], None]
    tried: Callable[[dict[str, Any], Run], None]
    trained: Callable[[Run], None]
    replied: Callable[[str, EndpointReply], None]


def quickstart(folder: Path, steps: Steps, launch: LaunchContext) -> Run:
    """Write the data, audit, tune, train, evaluate, report, serve, send a request, stop; all below `folder`."""
    data = write_digits(folder / "digits")
    steps.audited(audit(data, image_size=32, paths=launch.paths, progress=launch.progress))
    best_score, best_settings = -1.0, CANDIDATES[0]
    quiet = LaunchContext(paths=launch.paths)  # the terminal shows one line a trial
    for settings in CANDIDATES:
        trial = train(data, out=_free(folder / "trials"), recipe=BASE, launch=quiet, epochs=_TRIAL_EPOCHS, **settings)
        steps.tried(settings, trial)
        score = (trial.scores.get("valid") or {}).get("accuracy", -1.0)
        if score > best_score:
            best_score, best_settings = score, settings
    run = train(data, out=_free(folder / "runs"), recipe=BASE, launch=launch, **best_settings)
    steps.trained(run)
    with serving(run.path, ServeOptions(port=0)) as url:  # port 0: any free one
        image = sorted((data / "test" / "7").iterdir())[0]
        steps.replied(url, EndpointReply(image=image, truth="7", response=post_image(url, image)))
    return run


def post_image(url: str, image: Path) -> dict[str, Any]:
    """POST a PNG to an endpoint; return its JSON response."""
    request = urllib.request.Request(
        f"{url}/invocations", data=image.read_bytes(), headers={"Content-Type": "image/png"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        values: dict[str, Any] = json.load(response)
    return values


def write_digits(folder: Path) -> Path:
    """Write scikit-learn's 1,797 handwritten digits (8 x 8 pixels, 16 grays) as PNG class folders; fixed split.

    Source: Alpaydin & Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository.
    """
    if (folder / "digits.json").is_file():
        return folder
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rng = np.random.default_rng(0)  # the same split on every machine
    for digit in range(10):
        members = rng.permutation(np.flatnonzero(bunch.target == digit))
        ends = np.cumsum([round(share * len(members)) for share in _SHARES.values()])[:-1]
        for split, indices in zip(_SHARES, np.split(members, ends), strict=True):
            for index in indices:
                gray = (bunch.images[index] * (255 / 16)).astype(np.uint8)  # its grays are 0 to 16
                target = folder / split / str(digit) / f"{index:04d}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(gray).save(target)
    # Written last: its presence means that every image is there.
    write_json(folder / "digits.json", {"source": "scikit-learn load_digits", "images": len(bunch.target)})
    return folder


def _free(folder: Path) -> Path:
    """Return the first of folder/1, folder/2, ... that does not exist."""
    return next(path for path in (folder / str(number) for number in itertools.count(1)) if not path.exists())
