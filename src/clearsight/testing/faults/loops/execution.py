"""Execution of a case: the script runs with its two-line hook, and a copy that no hook watches is evaluated."""

from __future__ import annotations

import contextlib
import copy
import importlib
import io
import random
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from clearsight.testing.faults.loops import data, unseen_data
from clearsight.testing.faults.loops.cases import LoopCase, outputs
from clearsight.testing.faults.loops.kind import UNSEEN_STYLES
from clearsight.testing.faults.loops.networks import network
from clearsight.testing.faults.loops.setup import LoopOutcome, LoopScript, Style
from clearsight.testing.faults.loops.unseen_networks import network as unseen_network

DEBUGGER = "clearsight: "  # begins the lines in which the debugger reports its own failure


@dataclass(frozen=True, kw_only=True)
class LoopScore:
    """Accuracies of a run. reported: by its own loop.  honest: of a copy on correct validation data.

    error: what ended the script or the debugger, "" for nothing.
    """

    reported: float
    honest: float
    seconds: float
    error: str = ""


def run(case: LoopCase, out: Path, shared: Path) -> LoopScore:
    """Run a script with the hook in `out`, and evaluate a copy of what it leaves. Random states are restored."""
    pair, settings = case.pair, case.settings
    unseen = pair.style in UNSEEN_STYLES
    source, build = (unseen_data, unseen_network) if unseen else (data, network)
    with torch.random.fork_rng(devices=[]):
        for seed in (torch.manual_seed, random.seed, np.random.seed):
            seed(case.seed)
        images = source.load(pair.data, pair.side, settings, case.fault, case.seed, shared)
        changed, valid, plain = source.transforms(pair.data, pair.side, settings, case.fault)

        def new_model() -> nn.Module:
            return build(pair.network, outputs(pair, images.classes), pair.side, case.fault, settings, shared)

        train = source.training(images.train, changed, case.fault)
        script = LoopScript(
            out=out,
            style=pair.style,
            network=pair.network,
            fault=case.fault,
            settings=settings,
            model=new_model(),
            new_model=new_model,
            train=train,
            valid=data.ArrayImages(images.valid, valid),
            order=source.order(case.fault, train, settings),
            class_counts=torch.bincount(torch.from_numpy(images.train.labels), minlength=images.classes).float(),
        )
        start = time.perf_counter()
        outcome, error = quietly(style(pair.style), script)
        seconds = time.perf_counter() - start
        if outcome is None:
            return LoopScore(reported=0.0, honest=0.0, seconds=seconds, error=error)
        honest = accuracy(outcome.model, *data.honest_images(images, plain))
    return LoopScore(reported=outcome.reported, honest=honest, seconds=seconds, error=error)


def style(name: str) -> Style:
    """Return the `train` of a style; its module is imported late, because some need other packages."""
    loop: Style = importlib.import_module(f"clearsight.testing.faults.loops.styles.{name}").train
    return loop


def quietly(train: Style, script: LoopScript) -> tuple[LoopOutcome | None, str]:
    """Run a script without its output; return what it leaves, None where it raised, and the error."""
    output = io.StringIO()
    with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            outcome = train(script)
        except Exception as error:  # a fault may stop the script itself, which is a result
            return None, f"{type(error).__name__}: {error}"[:300]
    failures = [line for line in output.getvalue().splitlines() if line.startswith(DEBUGGER)]
    return outcome, failures[0] if failures else ""


def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Return the accuracy of a copy of the model that no hook watches, in evaluation mode."""
    copied = copy.deepcopy(model).eval()
    with torch.no_grad():
        logits = torch.cat([copied(part) for part in torch.split(images, 80)])
    predictions = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(dim=1)
    return float((predictions == labels).float().mean())
