"""Opening a bundle for inference: what evaluate, predict and the endpoint have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle
from clearsight.core.machine import cores
from clearsight.data.decode import MAX_PIXELS, inspect
from clearsight.data.geometry import prepare
from clearsight.serving.predictor import DecodeCost, Predictor
from clearsight.serving.predictor import load as load_predictor
from clearsight.serving.runtimes import RUNTIMES

log = logging.getLogger(__name__)

_DEFAULT_RUNTIME = "onnxruntime"


def open_predictor(
    bundle: Bundle,
    *,
    device: str = "cpu",
    runtime: str = _DEFAULT_RUNTIME,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Predictor:
    """Return a predictor for `bundle`: on a CPU through a runtime without torch, on a GPU through torch.

    A bundle without model.onnx runs in torch on a CPU too, where torch is installed and no other runtime is asked for;
    the log says so. The preprocessing is the bundle's own, by the same function that training used.
    """
    prepared = partial(prepare, preprocess=bundle.preprocess, max_pixels=max_pixels)
    if device.startswith("cuda"):
        return Predictor(bundle, _TorchSession(bundle, device), prepared)
    RUNTIMES.load(runtime)  # a wrong name is an error with any bundle
    if not bundle.has_onnx and runtime == _DEFAULT_RUNTIME and find_spec("torch") is not None:
        log.warning("%s has no model.onnx; torch runs its network instead.", bundle.path)
        measure = partial(_decode_cost, max_pixels=max_pixels)
        return Predictor(bundle, _TorchSession(bundle, "cpu", threads), prepared, measure)
    measure = partial(_decode_cost, max_pixels=max_pixels)
    return load_predictor(bundle, prepared, measure=measure, runtime=runtime, threads=threads or cores())


def _decode_cost(data: bytes, *, max_pixels: int) -> DecodeCost:
    info = inspect(data, max_pixels=max_pixels)
    return DecodeCost(info.width * info.height, info.memory)


class _TorchSession:
    """Session of a bundle's network in torch: on a GPU, or on a CPU where there is no ONNX file.

    threads: of inference on a CPU; None leaves torch's own number.
    """

    def __init__(self, bundle: Bundle, device: str, threads: int | None = None) -> None:
        # Here and not above: an endpoint with an ONNX file never loads torch.
        import torch

        from clearsight.models.bundle import load

        self._torch, self._device, self._threads = torch, torch.device(device), threads
        # Eval: batch normalisation by its saved statistics.
        self._model: Any = load(bundle).model.to(self._device).eval()

    def run(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the logits (N, C) of prepared images (N, 3, S, S)."""
        with self._own_threads(), self._torch.inference_mode():
            logits = self._model(self._torch.from_numpy(images).to(self._device))
        result: npt.NDArray[np.float32] = logits.float().cpu().numpy()  # numpy has no bfloat16
        return result

    @contextmanager
    def _own_threads(self) -> Iterator[None]:
        before = self._torch.get_num_threads()
        try:
            # The number is the process's: a training in it must find its own again.
            self._torch.set_num_threads(self._threads or before)
            yield
        finally:
            self._torch.set_num_threads(before)


def open_features(bundle: Bundle, device: str = "cpu") -> Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]:
    """Return a function from prepared images (N, 3, S, S) to the features before the head, (N, D); it needs torch."""
    import torch

    from clearsight.models.bundle import load

    network = load(bundle)
    backbone = network.prefix(len(network.stages)).to(device).eval()

    def features(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            found: npt.NDArray[np.float32] = backbone(torch.from_numpy(images).to(device)).float().cpu().numpy()
        return found

    return features
