"""Contracts of the serving families: what a payload codec and a runtime must do, wherever they come from.

Subclass one in a test module, fill in the attributes, and pytest runs the rest.
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
from clearsight.serving.limits import Limits
from clearsight.serving.payload import PredictionResponse
from clearsight.serving.predictor import Predictor
from clearsight.serving.runtimes import Load
from clearsight.serving.server import background
from clearsight.serving.service import Service
from clearsight.testing import mean_colour

if TYPE_CHECKING:
    import httpx

_DAMAGES = 200


@contextlib.contextmanager
def serving(predictor: Predictor, limits: Limits | None = None, **settings: int) -> Iterator[httpx.Client]:
    """An endpoint on a free port of this machine for the duration of the block, which gets a client of it.

    settings: of Service.
    """
    import httpx

    app = build_app(Service(predictor, **settings), limits)
    with background(app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client


def npy_file(array: npt.NDArray[Any]) -> bytes:
    """What numpy.save writes."""
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


class CodecContract:
    """A reader of request bodies."""

    read: Read
    examples: Sequence[tuple[bytes, int]]  # bodies that it reads, and how many images each holds

    def test_reads_its_examples(self) -> None:
        for body, count in self.examples:
            payload = type(self).read(body)
            assert len(payload.images) == count
            assert payload.batch or count == 1
            for image in payload.images:
                assert isinstance(image, bytes) or image.dtype in (np.uint8, np.float32)

    def test_takes_no_more_memory_than_the_body_accounts_for(self) -> None:
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


class AnswerContract:
    """A writer of answers, and the way back: how a client reads the probabilities (N, C) out of a body."""

    write: Write
    parse: Callable[[bytes], npt.NDArray[np.float64]]

    @pytest.mark.parametrize(("count", "batch"), [(1, False), (1, True), (3, True)])
    def test_a_client_reads_the_same_probabilities(self, count: int, batch: bool) -> None:
        rows = np.random.default_rng(0).dirichlet(np.ones(4), size=count)
        answer = PredictionResponse(classes=("a,b", 'c"d', "é", ""), probabilities=rows, batch=batch)
        np.testing.assert_allclose(type(self).parse(type(self).write(answer)), rows, rtol=1e-6)


class RuntimeContract:
    """A runtime; it is tried on the network of `mean_colour`."""

    load: Load

    @pytest.fixture(autouse=True)
    def _given(self, tmp_path: Path) -> None:
        self.network = mean_colour.write_network(tmp_path / "good.onnx")
        shape = (5, 3, mean_colour.SIZE, mean_colour.SIZE)
        self.images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        self.logits = self.images.mean(axis=(2, 3)) @ mean_colour.WEIGHTS

    def test_gives_the_right_logits(self) -> None:
        got = type(self).load(self.network, 1).run(self.images)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, self.logits, rtol=1e-4, atol=1e-4)

    def test_a_image_gets_the_same_logits_alone_and_in_a_batch(self) -> None:
        session = type(self).load(self.network, 1)
        alone = np.concatenate([session.run(image[None]) for image in self.images])
        np.testing.assert_allclose(alone, session.run(self.images), rtol=1e-4, atol=1e-4)

    def test_a_result_is_the_callers_to_keep(self) -> None:
        session = type(self).load(self.network, 1)
        first = session.run(self.images)
        kept = first.copy()
        session.run(self.images * 0)
        np.testing.assert_array_equal(first, kept)

    def test_runs_on_another_thread_than_it_was_loaded_on(self) -> None:
        session = type(self).load(self.network, 2)
        with ThreadPoolExecutor(1) as pool:
            got = pool.submit(session.run, self.images).result()
        np.testing.assert_allclose(got, self.logits, rtol=1e-4, atol=1e-4)

    def test_a_damaged_file_is_refused_in_a_sentence(self, tmp_path: Path) -> None:
        damaged = tmp_path / "model.onnx"
        damaged.write_bytes(self.network.read_bytes()[:-20])
        with pytest.raises(BadBundle, match=r"model\.onnx: .+ cannot load it") as caught:
            type(self).load(damaged, 1)
        assert "\n" not in str(caught.value)
