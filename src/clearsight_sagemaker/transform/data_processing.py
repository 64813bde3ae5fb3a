"""DataProcessing: filters of the records that go to a model, and of what is written beside its responses."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from clearsight.core.errors import BadValue
from clearsight_sagemaker.transform.json_path import JsonPath, read_json_text
from clearsight_sagemaker.transform.records import RecordBatch

_CSV = ("text/csv",)
_JSON_LINES = ("application/jsonlines", "application/x-jsonlines")
_JSON = ("application/json", *_JSON_LINES)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataProcessing:
    """Filters of a job. joins: True where the output has the input beside it.  content_type: of the records.

    Records of text/csv are lists of columns, those of JSON are values.
    """

    input_filter: JsonPath
    output_filter: JsonPath
    joins: bool
    content_type: str

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> DataProcessing:
        """Return the section of a CreateTransformJob request. Raises BadValue for one that is not supported."""
        values = request.get("DataProcessing") or {}
        processing = cls(
            input_filter=JsonPath.of(values.get("InputFilter") or "$", "InputFilter"),
            output_filter=JsonPath.of(values.get("OutputFilter") or "$", "OutputFilter"),
            joins=values.get("JoinSource") == "Input",
            content_type=_kind(request["TransformInput"].get("ContentType") or ""),
        )
        if processing.is_active and processing.content_type not in (*_CSV, *_JSON):
            allowed = ", ".join((*_CSV, *_JSON))
            raise BadValue(
                f"DataProcessing with ContentType {processing.content_type!r}",
                "filters and JoinSource need records that can be read",
                fix=f"Allowed: {allowed}.",
            )
        return processing

    @property
    def is_active(self) -> bool:
        """True where records or responses are changed."""
        return self.joins or not self.input_filter.is_root or not self.output_filter.is_root

    def body(self, batch: RecordBatch) -> bytes:
        """Return the body of the request of a batch. Raises BadValue for a record that the filter does not fit."""
        if self.input_filter.is_root:
            return batch.body
        values = [self.input_filter.of_value(value) for value in self._values(batch.records, self.content_type)]
        return b"\n".join(self._encoded(value, self.content_type) for value in values)

    def output(self, batch: RecordBatch, response: bytes, content_type: str) -> bytes:
        """Return what is written for a response. Raises BadValue for one that does not fit its records."""
        if not self.joins and self.output_filter.is_root:
            return response
        kind = _kind(content_type) or self.content_type
        if kind not in (*_CSV, *_JSON):
            raise BadValue(f"a response of type {kind!r}", "OutputFilter and JoinSource need text/csv or JSON")
        records = [*self._values(batch.records, self.content_type)]
        outputs = self._outputs(response, kind, len(records))
        if self.joins:
            if (kind in _CSV) != (self.content_type in _CSV):
                raise BadValue(
                    f"a response of type {kind!r}", f"it cannot be joined with records of type {self.content_type!r}"
                )
            outputs = [_joined(record, output, kind) for record, output in zip(records, outputs, strict=True)]
        return b"\n".join(self._encoded(self.output_filter.of_value(output), kind) for output in outputs)

    def _outputs(self, response: bytes, kind: str, count: int) -> list[Any]:
        """Return the part of a response for each record."""
        text = _text(response)
        parts: Iterable[str] = [text] if kind == "application/json" and count == 1 else text.splitlines()
        outputs = [_value(part, kind) for part in parts if part.strip()]
        if kind == "application/json" and len(outputs) == 1 != count and isinstance(outputs[0], list):
            outputs = outputs[0]
        if len(outputs) != count:
            raise BadValue("the response", f"it has {len(outputs)} results for {count} records")
        return outputs

    def _values(self, records: Sequence[bytes], kind: str) -> Iterable[Any]:
        for record in records:
            yield _value(_text(record), kind)

    def _encoded(self, value: Any, kind: str) -> bytes:
        if kind in _CSV:
            row = value if isinstance(value, list) else [value]
            buffer = io.StringIO()
            csv.writer(buffer, lineterminator="").writerow(row)
            return buffer.getvalue().encode()
        return json.dumps(value, ensure_ascii=False).encode()


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadValue("a record or a response", "it is no text in UTF-8") from None


def _value(text: str, kind: str) -> Any:
    if kind in _CSV:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        if len(rows) != 1:
            raise BadValue("a record of text/csv", f"it has {len(rows)} lines", fix="Set SplitType to Line.")
        return rows[0]
    return read_json_text(text)


def _joined(record: Any, output: Any, kind: str) -> Any:
    if kind in _CSV:
        return [*record, *output]
    if isinstance(record, dict):
        return {**record, "SageMakerOutput": output}
    return {"SageMakerInput": record, "SageMakerOutput": output}
