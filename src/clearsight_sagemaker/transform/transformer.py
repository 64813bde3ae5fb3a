"""Transformer: records of objects to a model server, several at a time, and its responses to objects in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from clearsight.core.errors import BadValue
from clearsight_sagemaker.hosting.inference_server import InferenceServer, wait_for
from clearsight_sagemaker.s3.errors import S3Error
from clearsight_sagemaker.training.channels import Channel, Downloader
from clearsight_sagemaker.training.objects import Objects, join_uri
from clearsight_sagemaker.transform.data_processing import DataProcessing
from clearsight_sagemaker.transform.records import MEGABYTE, RecordBatch, RecordSplitter

_DEFAULT_PAYLOAD, _MOST_PAYLOAD = 6, 100  # MB
_DEFAULT_SECONDS, _DEFAULT_RETRIES = 600, 3
_SHOWN = 2000  # characters of a response in the log
_TOO_MANY, _SERVER_ERROR = 429, 500


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestSettings:
    """Settings of requests and of their results. concurrent: requests at the same time.

    seconds: for a response.  retries: of a request that the server fails.  lines: True for a line end after each
    response.
    """

    splitter: RecordSplitter
    processing: DataProcessing
    content_type: str
    accept: str
    concurrent: int
    seconds: float
    retries: int
    lines: bool

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> RequestSettings:
        """Return the settings of a CreateTransformJob request. Raises BadValue for what is not supported."""
        source, client = request["TransformInput"], request.get("ModelClientConfig") or {}
        payload = request.get("MaxPayloadInMB", _DEFAULT_PAYLOAD) or _MOST_PAYLOAD  # 0: no limit but that of a job
        splitter = RecordSplitter(
            split=source.get("SplitType", "None"),
            many=request.get("BatchStrategy", "MultiRecord") == "MultiRecord",
            most=payload * MEGABYTE,
            is_gzip=source.get("CompressionType") == "Gzip",
        )
        return cls(
            splitter=splitter,
            processing=DataProcessing.of(request),
            content_type=source.get("ContentType") or "",
            accept=request["TransformOutput"].get("Accept") or "",
            concurrent=request.get("MaxConcurrentTransforms") or 1,
            seconds=client.get("InvocationsTimeoutInSeconds", _DEFAULT_SECONDS),
            retries=client.get("InvocationsMaxRetries", _DEFAULT_RETRIES),
            lines=request["TransformOutput"].get("AssembleWith") == "Line",
        )

    @property
    def sentence(self) -> str:
        """Line of the log with what holds for the job, as SageMaker writes it."""
        strategy = "MULTI_RECORD" if self.splitter.many else "SINGLE_RECORD"
        payload = self.splitter.most // MEGABYTE
        return f"MaxConcurrentTransforms={self.concurrent}, MaxPayloadInMB={payload}, BatchStrategy={strategy}"


@dataclass(slots=True)
class TransformSource:
    """An object. result: address of its result.  problem: why it has no result, "" as long as it may have one."""

    uri: str
    result: str
    problem: str = ""


class RecordFailed(Exception):
    """Raised for a record that has no result; its object has none then."""


@dataclass(slots=True)
class Transformer:
    """Transforms objects. log: takes a sentence.  check: called before each request; raises to give up.

    Memory: `concurrent` requests and their responses, whatever the size of the objects.
    """

    server: InferenceServer
    objects: Objects
    settings: RequestSettings
    log: Callable[[str], None]
    check: Callable[[], None]

    def run(self, sources: Sequence[TransformSource]) -> None:
        """Transform all objects; those without a result have a problem afterwards. Raises what `check` raises."""
        pool = ThreadPoolExecutor(self.settings.concurrent, thread_name_prefix="transform")
        try:
            for number, results in groupby(self._results(sources, pool), key=lambda item: item[0]):
                source = sources[number]
                try:
                    with self.objects.writing(source.result) as target:
                        for _, result in results:
                            target.write(wait_for(result, self.check))
                except (RecordFailed, S3Error) as error:
                    source.problem = str(error)
                    self.log(f"{source.uri.removeprefix('s3://')}: {error}")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # requests under way end with the server

    def _results(
        self, sources: Sequence[TransformSource], pool: ThreadPoolExecutor
    ) -> Iterator[tuple[int, Future[bytes]]]:
        """Yield number of the object and result of each request in order; at most `concurrent` are under way."""
        window: deque[tuple[int, Future[bytes]]] = deque()
        for number, source in enumerate(sources):
            batches = self._batches(source)
            while True:
                while len(window) >= self.settings.concurrent:
                    yield window.popleft()
                self.check()
                if source.problem:  # an earlier record has failed; the others would be for nothing
                    batches.close()
                    break
                try:
                    batch = next(batches, None)
                except (BadValue, S3Error) as error:
                    window.append((number, _failed(error)))
                    break
                if batch is None:
                    break
                window.append((number, pool.submit(self._request, batch)))
            if not source.problem:
                window.append((number, _finished()))  # an empty object has a result too
        yield from window

    def _batches(self, source: TransformSource) -> Generator[RecordBatch, None, None]:
        with self.objects.opened(source.uri) as (_, file):
            for batch in self.settings.splitter.batches(file):
                # Filters alone read the records, which are as large as the body.
                yield batch if self.settings.processing.is_active else replace(batch, records=())

    def _request(self, batch: RecordBatch) -> bytes:
        """Return what is written for a request. Raises RecordFailed."""
        settings = self.settings
        try:
            body = settings.processing.body(batch)
            for attempt in range(settings.retries + 1):
                response = self.server.invoke(body, settings.content_type, settings.accept, settings.seconds)
                if response.status < _SERVER_ERROR and response.status != _TOO_MANY:
                    break
                if attempt < settings.retries:
                    self.check()
            if response.status != 200:
                text = response.body.decode(errors="replace").strip()[:_SHOWN]
                raise RecordFailed(f"Bad HTTP status received from algorithm: {response.status}\n{text}")
            output = settings.processing.output(batch, response.body, response.content_type)
        except BadValue as error:
            raise RecordFailed(str(error)) from None
        return output + b"\n" if settings.lines and not output.endswith(b"\n") else output


def transform_sources(request: Mapping[str, Any], objects: Objects) -> list[TransformSource]:
    """Return the objects of a request in the order of their addresses. Raises JobFailed where there are none."""
    source = request["TransformInput"]["DataSource"]["S3DataSource"]
    channel = Channel(name="input", word="transform", uri=source["S3Uri"], kind=source["S3DataType"], mode="File")
    files = Downloader(objects=objects, links=False, check=lambda: None).files(channel)
    output = request["TransformOutput"]["S3OutputPath"]
    return [TransformSource(uri=file.uri, result=join_uri(output, f"{file.name}.out")) for file in files]


def _finished() -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_result(b"")
    return future


def _failed(error: Exception) -> Future[bytes]:
    future: Future[bytes] = Future()
    future.set_exception(RecordFailed(str(error)))
    return future
