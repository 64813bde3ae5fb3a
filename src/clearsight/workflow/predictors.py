"""Opening a bundle for inference: what evaluate, predict and the endpoint have in common."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clearsight.core.bundle import Bundle
from clearsight.core.errors import BadBundle, BadChoice, ClearsightError, as_bad_bundle
from clearsight.core.machine import cores
from clearsight.data.decode import MAX_PIXELS, inspect
from clearsight.data.geometry import denormalise, normalise, prepare, prepare_pixels
from clearsight.serving.payload import Prepared, Probabilities
from clearsight.serving.predictor import DecodeCost, Predictor
from clearsight.serving.predictor import load as load_predictor
from clearsight.serving.runtimes import RUNTIMES, Session
from clearsight.serving.runtimes.optimized import optimized_file
from clearsight.workflow.deployment.options import (
    ALIASES,
    RuntimeOption,
    chosen_option,
    runtime_names,
    runtime_options,
)

if TYPE_CHECKING:
    from clearsight.workflow.prepare.inputs import InputImage  # an endpoint need not import readers of datasets

log = logging.getLogger(__name__)

_DEFAULT_RUNTIME = "onnxruntime"


def open_predictor(
    bundle: Bundle,
    *,
    device: str = "cpu",
    runtime: str = _DEFAULT_RUNTIME,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    optimized: Path | None = None,
) -> Predictor:
    """Return a predictor for `bundle`: on a CPU through a runtime without torch, on a GPU through torch.

    runtime: "auto" for the one that `clearsight benchmark` chose on this machine, or the name of a runtime or of an
    exported model. Without model.onnx the default runs in torch on a CPU too, where torch is installed; the log says
    so. The preprocessing is the bundle's own, by the same function that training used.
    optimized: folder that keeps the default runtime's optimised networks for further starts.
    Raises BadChoice for a runtime that this bundle does not have, BadBundle, MissingExtra.
    """
    prepared = partial(prepare, preprocess=bundle.preprocess, max_pixels=max_pixels)
    if device.startswith("cuda"):
        return Predictor(bundle, _TorchSession(bundle, device), prepared)
    option = chosen_option(bundle) if runtime == "auto" else _named_option(bundle, runtime)
    name = _DEFAULT_RUNTIME if runtime == "auto" else ALIASES.get(runtime, runtime)
    measure = partial(_decode_cost, max_pixels=max_pixels)
    if option is not None:
        predictor = open_option(bundle, option, threads=threads, max_pixels=max_pixels, optimized=optimized)
        predictor.check_outputs()
        return replace(predictor, measure=measure)
    RUNTIMES.load(name)  # a wrong name is an error with any bundle
    if not bundle.has_onnx and name == _DEFAULT_RUNTIME and find_spec("torch") is not None:
        log.warning("%s has no model.onnx; torch runs its network instead.", bundle.path)
        return Predictor(bundle, _TorchSession(bundle, "cpu", threads), prepared, measure)
    return load_predictor(
        bundle, prepared, measure=measure, runtime=name, threads=threads or cores(), optimized=optimized
    )


def open_or_torch(bundle: Bundle, *, device: str, threads: int) -> Predictor:
    """Return the default predictor; where the ONNX file of the bundle fails, that of torch, and the log says why."""
    try:
        return open_predictor(bundle, device=device, threads=threads)
    except BadBundle as error:
        if bundle.weights.name not in bundle.files or device.startswith("cuda"):
            raise
        log.warning("%s torch runs the network instead.", error)
        return open_predictor(bundle, runtime="torch", threads=threads)


def _named_option(bundle: Bundle, runtime: str) -> RuntimeOption | None:
    """Return the option of that name; None for a runtime that opens model.onnx, or has to be explained by its error."""
    if ALIASES.get(runtime, runtime) == _DEFAULT_RUNTIME:
        return None
    option = next((option for option in runtime_options(bundle) if option.name == runtime), None)
    if option is None and runtime not in RUNTIMES.names():
        fix = "" if runtime != "torch-export" else "Write it with: clearsight export MODEL --to torch-export."
        problem = "this bundle has no such runtime"
        raise BadChoice(f"--runtime {runtime}", problem, got=runtime, allowed=runtime_names(bundle), fix=fix)
    return option


def open_option(
    bundle: Bundle,
    option: RuntimeOption,
    *,
    folder: Path | None = None,
    threads: int | None = None,
    max_pixels: int = MAX_PIXELS,
    optimized: Path | None = None,
) -> Predictor:
    """Return a predictor for one way of running a bundle. folder: of its file; by default that of the bundle."""
    path = (folder or bundle.path) / option.file
    session: Session
    if option.engine == "torch":
        session = _TorchSession(bundle, "cpu", threads)
    elif option.engine == "torch-export":
        session = _ProgramSession(path, threads)
    else:
        if optimized is not None and option.engine == _DEFAULT_RUNTIME and folder is None:
            path = optimized_file(path, bundle.files[option.file], optimized)
        session = RUNTIMES.load(option.engine)(path, threads or cores())
    if option.input == "prepared":
        return Predictor(bundle, session, partial(prepare, preprocess=bundle.preprocess, max_pixels=max_pixels))
    cropped = partial(prepare_pixels, preprocess=bundle.preprocess, max_pixels=max_pixels)
    return Predictor(bundle, session, cropped, pixels_of=partial(denormalise, preprocess=bundle.preprocess))


def probabilities_of(predictor: Predictor, pixels: npt.NDArray[np.uint8]) -> Probabilities:
    """Return the served probabilities (N, C) of pixels (N, S, S, 3) uint8 of the network's size."""
    images = pixels if predictor.takes_pixels else normalise(pixels, predictor.bundle.preprocess)
    return predictor.probabilities(images)


def prepare_image(image: InputImage, predictor: Predictor) -> Prepared | str:
    """Return the model's input (3, S, S) float32, or why there is none."""
    try:
        content = image.read()
        return predictor.prepare(content) if image.stored else predictor.prepared(content)
    except ClearsightError as error:
        return error.problem
    except OSError as error:
        return f"it cannot be read ({error.strerror})"


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

    def run(self, images: npt.NDArray[np.float32] | npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
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


class _ProgramSession(_TorchSession):
    """Session of a program of torch.export (.pt2) on a CPU.

    Reading such a file can execute code that is in it: it is opened for `--runtime torch-export` alone, from a bundle
    whose manifest has its digest.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        import torch

        self._torch, self._device, self._threads = torch, torch.device("cpu"), threads
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch about its own modules
            with as_bad_bundle(str(path), "torch.export cannot load it"):
                self._model = torch.export.load(path).module()


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
