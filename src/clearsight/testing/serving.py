"""Contracts of the serving registries: the tests that every payload codec and every runtime must pass.

Subclass one in a test module and set its attributes; pytest runs the tests.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from clearsight.core.errors import BadBundle, ClearsightError
from clearsight.serving.app import build_app
from clearsight.serving.codecs import Read, Write
from clearsight.serving.payload import PredictionResponse
from clearsight.serving.predictor import Predictor
from clearsight.serving.request_body import Limits
from clearsight.serving.runtimes import Load
from clearsight.serving.server import background
from clearsight.serving.service import Service
from clearsight.testing import mean_colour

if TYPE_CHECKING:
    import httpx

_DAMAGES = 200  # random damages per example body


@contextlib.contextmanager
def serving(predictor: Predictor, limits: Limits | None = None, **settings: int) -> Iterator[httpx.Client]:
    """Run an endpoint on a free port of this machine and yield a client of it. `settings` are those of Service."""
    import httpx

    app = build_app(Service(predictor, **settings), limits)
    # Without trust_env: a proxy of the environment must not take the requests.
    with background(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client


def npy_file(array: npt.NDArray[Any]) -> bytes:
    """Return `array` as the bytes of an .npy file."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


class CodecContract:
    """Tests of a codec that reads request bodies."""

    read: Read
    examples: Sequence[tuple[bytes, int]]  # bodies that it reads, and how many images each holds

    def test_reads_its_examples(self) -> None:
        for body, count in self.examples:
            payload = type(self).read(body)
            assert len(payload.images) == count
            assert payload.batch or count == 1
            for image in payload.images:
                assert isinstance(image, bytes) or image.dtype in (np.uint8, np.float32)

    def test_images_take_at_most_twice_the_memory_of_the_body(self) -> None:
        for body, _ in self.examples:
            held = sum(
                len(image) if isinstance(image, bytes) else image.nbytes for image in type(self).read(body).images
            )
            assert held <= 2 * len(body)

    def test_a_damaged_body_is_read_or_refused_in_a_sentence(self) -> None:
        rng = np.random.default_rng(0)
        sentences = []
        for body, _ in self.examples:
            for _ in range(_DAMAGES):
                damaged = bytearray(body)
                # The first 200 bytes are headers, where damage reaches the most branches of a parser.
                for place in rng.integers(0, min(len(body), 200), size=3):
                    damaged[place] = rng.integers(0, 256)
                del damaged[rng.integers(1, len(damaged) + 1) :]
                try:
                    type(self).read(bytes(damaged))
                except ClearsightError as error:
                    sentences.append(str(error))
        assert not any("\n" in sentence for sentence in sentences)

    def test_reads_on_many_threads(self) -> None:
        bodies = [body for body, _ in self.examples] * 8
        with ThreadPoolExecutor(8) as pool:
            counts = [len(payload.images) for payload in pool.map(type(self).read, bodies)]
        assert counts == [len(type(self).read(body).images) for body in bodies]


class ResponseContract:
    """Tests of a codec that writes responses. `parse` is the client: it reads probabilities (N, C) from a body."""

    write: Write
    parse: Callable[[bytes], npt.NDArray[np.float64]]

    @pytest.mark.parametrize(("count", "batch"), [(1, False), (1, True), (3, True)])
    def test_a_client_reads_the_same_probabilities(self, count: int, batch: bool) -> None:
        rows = np.random.default_rng(0).dirichlet(np.ones(4), size=count)  # rows that sum to 1
        # Names that break CSV and JSON where they are not escaped.
        prediction = PredictionResponse(classes=("a,b", 'c"d', "é", ""), probabilities=rows, batch=batch)
        np.testing.assert_allclose(type(self).parse(type(self).write(prediction)), rows, rtol=1e-6)


AnswerContract = ResponseContract  # the name in version 0.1


class RuntimeContract:
    """Tests of a runtime on the network of `mean_colour`."""

    load: Load

    @pytest.fixture(autouse=True)
    def _network_and_images(self, tmp_path: Path) -> None:
        self.network = mean_colour.write_network(tmp_path / "good.onnx")
        shape = (5, 3, mean_colour.SIZE, mean_colour.SIZE)
        self.images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        self.logits = self.images.mean(axis=(2, 3)) @ mean_colour.WEIGHTS

    def test_computes_the_logits(self) -> None:
        logits = type(self).load(self.network, 1).run(self.images)
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, self.logits, rtol=1e-4, atol=1e-4)

    def test_an_image_gets_the_same_logits_alone_and_in_a_batch(self) -> None:
        session = type(self).load(self.network, 1)
        single = np.concatenate([session.run(image[None]) for image in self.images])
        # Not bit-equal: a runtime may choose another kernel by batch size.
        np.testing.assert_allclose(single, session.run(self.images), rtol=1e-4, atol=1e-4)

    def test_a_result_is_not_overwritten_by_the_next_run(self) -> None:
        session = type(self).load(self.network, 1)
        first = session.run(self.images)
        copy = first.copy()
        session.run(self.images * 0)  # a runtime may reuse its output buffer
        np.testing.assert_array_equal(first, copy)

    def test_runs_on_another_thread_than_it_was_loaded_on(self) -> None:
        session = type(self).load(self.network, 2)
        with ThreadPoolExecutor(1) as pool:
            logits = pool.submit(session.run, self.images).result()
        np.testing.assert_allclose(logits, self.logits, rtol=1e-4, atol=1e-4)

    def test_a_damaged_file_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        damaged = tmp_path / "model.onnx"
        damaged.write_bytes(self.network.read_bytes()[:-20])
        with pytest.raises(BadBundle, match=r"model\.onnx: .+ cannot load it") as caught:
            type(self).load(damaged, 1)
        assert "\n" not in str(caught.value)
