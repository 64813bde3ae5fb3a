"""OpenVINO satisfies the runtime contract and is optional."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from clearsight.core.errors import MissingExtra
from clearsight.serving.runtimes import RUNTIMES, openvino
from clearsight.testing.mean_colour import write_network
from clearsight.testing.serving import RuntimeContract


@pytest.mark.skipif(find_spec("openvino") is None, reason="the extra openvino is not installed")
class TestOpenVino(RuntimeContract):
    load = staticmethod(openvino.load)


def test_without_the_package_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"pip install 'clearsight\[openvino\]'"):
        RUNTIMES.load("openvino")(write_network(tmp_path / "model.onnx"), 1)
