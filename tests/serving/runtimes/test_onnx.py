"""onnxruntime satisfies the runtime contract and is the default."""

from __future__ import annotations

from clearsight.serving.runtimes import RUNTIMES, onnx
from clearsight.testing.serving import RuntimeContract


class TestOnnx(RuntimeContract):
    load = staticmethod(onnx.load)


def test_is_the_default() -> None:
    assert RUNTIMES.names()[0] == "onnxruntime"
    assert RUNTIMES.load("onnxruntime") is onnx.load
