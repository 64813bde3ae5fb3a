"""Functions of a model's own code, by the contract of SageMaker's PyTorch images."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from clearsight.serving.handlers.functions import HandlerFunctions, UnsupportedFormat

Write = Callable[[str], HandlerFunctions]


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Write]:
    """Return a function that writes code/NAME.py and loads it."""
    names: list[str] = []

    def written(code: str) -> HandlerFunctions:
        name = f"handler_{len(names)}_of_a_test"
        names.append(name)
        (tmp_path / "code").mkdir(exist_ok=True)
        (tmp_path / "code" / f"{name}.py").write_text(code)
        return HandlerFunctions(tmp_path, f"{name}.py")

    before = list(sys.path)
    yield written
    sys.path[:] = before
    for name in names:
        sys.modules.pop(name, None)


ALL = """
import json
def model_fn(model_dir): return {"dir": model_dir}
def input_fn(request_body, content_type): return [type(request_body).__name__, content_type, len(request_body)]
def predict_fn(data, model): return {"data": data, "model": model}
def output_fn(prediction, accept): return json.dumps({**prediction, "accept": accept}), "application/json"
"""


def test_all_functions(write: Write, tmp_path: Path) -> None:
    functions = write(ALL)
    body, kind = functions.respond(functions.load(), b"[1]", "application/json", "text/csv")
    assert kind == "application/json"
    assert json.loads(body) == {
        "data": ["str", "application/json", 3],  # JSON and CSV arrive as text
        "model": {"dir": str(tmp_path)},
        "accept": "text/csv",
    }


@pytest.mark.parametrize(
    ("content_type", "got"),
    [("text/csv; charset=utf-8", "str"), ("image/jpeg", "bytes"), ("application/x-npy", "bytes"), ("", "str")],
)
def test_only_json_and_csv_arrive_as_text(content_type: str, got: str, write: Write) -> None:
    functions = write(ALL)
    body, _ = functions.respond({}, b"{}", content_type, "*/*")
    assert json.loads(body)["data"][0] == got


def test_a_missing_accept_is_that_of_the_environment(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "application/x-npy")
    assert json.loads(write(ALL).respond({}, b"{}", "", "")[0])["accept"] == "application/x-npy"


def test_transform_fn_replaces_the_other_three(write: Write) -> None:
    functions = write("def model_fn(d): return 2\ndef transform_fn(model, body, kind, accept): return str(model * 2)")
    assert functions.respond(functions.load(), b"", "image/png", "text/plain") == (b"4", "text/plain")
    with pytest.raises(ValueError, match="Cannot use transform_fn implementation in conjunction with input_fn"):
        write(ALL + "def transform_fn(model, body, kind, accept): return ''")


def test_a_function_with_one_parameter_more_gets_the_context(write: Write, tmp_path: Path) -> None:
    functions = write(
        "def model_fn(model_dir, context): return context.system_properties['model_dir']\n"
        "def transform_fn(model, body, kind, accept, context): return model + str(context.system_properties['gpu_id'])"
    )
    assert functions.respond(functions.load(), b"", "", "")[0].decode() == f"{tmp_path}None"


def test_the_model_is_warmed_up(write: Write) -> None:
    code = "steps = []\ndef pre_model_fn(d): steps.append('pre')\ndef model_fn(d): steps.append('load'); return steps\n"
    assert write(code + "def model_warmup_fn(d, model): model.append('warm')").load() == ["pre", "load", "warm"]


# --- defaults


class Double(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 2 * images


def save(path: Path) -> None:
    torch.jit.script(Double()).save(str(path))  # type: ignore[no-untyped-call]


def numbers(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "resnet.pt"])
def test_without_functions_the_only_torchscript_file_is_served(
    name: str, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path.parent)  # the images look for it in the working directory
    save(tmp_path / name)
    functions = write("")
    model = functions.load()
    images = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert json.loads(functions.respond(model, b"[[1, 2]]", "application/json", "")[0]) == [[2.0, 4.0]]
    assert functions.respond(model, b"1,2\n3,4\n", "text/csv", "text/csv")[0] == b"2.0,4.0\n6.0,8.0\n"
    body, kind = functions.respond(model, numbers(images), "application/x-npy", "image/png, application/x-npy")
    assert kind == "application/x-npy"
    np.testing.assert_array_equal(np.load(io.BytesIO(body)), 2 * images)


def test_types_that_the_defaults_do_not_know(write: Write, tmp_path: Path) -> None:
    save(tmp_path / "model.pt")
    functions = write("")
    model = functions.load()
    with pytest.raises(UnsupportedFormat, match="image/jpeg is not supported"):
        functions.respond(model, b"", "image/jpeg", "")
    with pytest.raises(UnsupportedFormat, match="text/html is not supported"):
        functions.respond(model, b"[1]", "application/json", "text/html")


def test_weights_alone_need_model_fn(write: Write, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Exactly one .pth or .pt file is required for PyTorch models: \[\]"):
        write("").load()
    torch.save({"weight": torch.zeros(1)}, tmp_path / "model.pth")
    with pytest.raises(RuntimeError, match=r"Failed to load model.pth. Please ensure model is saved using torchscript"):
        write("").load()


def test_pickles_are_not_read(write: Write, tmp_path: Path) -> None:
    save(tmp_path / "model.pt")
    functions = write("")
    with pytest.raises(ValueError, match="allow_pickle"):
        functions.respond(functions.load(), numbers(np.array([{}])), "application/x-npy", "")


def test_a_response_must_be_text_or_bytes(write: Write) -> None:
    functions = write("def model_fn(d): return 1\ndef transform_fn(model, body, kind, accept): return 3")
    with pytest.raises(TypeError, match="output_fn returned int"):
        functions.respond(functions.load(), b"", "", "")
