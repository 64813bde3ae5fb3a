"""The same images through every way of asking a model: torch, onnx, openvino, an endpoint's payloads, transform.

    python benchmarks/parity.py [--model RUN]

For each way: the share of images whose class is that of torch, and the largest difference of a probability. An image
that cannot be read must be refused by every way.
"""

from __future__ import annotations

import argparse
import base64
import importlib.util
import io
import json
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
from measured import machine, shared

from clearsight.core.bundle import Bundle, open_bundle
from clearsight.core.errors import ClearsightError
from clearsight.data.decode import decode
from clearsight.workflow.predictors import open_predictor
from clearsight.workflow.serve import ServeOptions, serving
from clearsight.workflow.transform.transform import transform
from serving import make_model

Row = npt.NDArray[np.float64]


def runtime(bundle: Bundle, name: str) -> Callable[[bytes], Row | None]:
    predictor = open_predictor(bundle, runtime=name)

    def ask(data: bytes) -> Row | None:
        try:
            row: Row = predictor.probabilities(predictor.prepared(data)[None])[0]
            return row
        except ClearsightError:
            return None

    return ask


def form(data: bytes) -> tuple[bytes, str]:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'.encode()
    return head + data + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def pixels(data: bytes) -> tuple[bytes, str]:
    file = io.BytesIO()
    np.save(file, decode(data))
    return file.getvalue(), "application/x-npy"


PAYLOADS: dict[str, Callable[[bytes], tuple[bytes, str]]] = {
    "endpoint, raw": lambda data: (data, "application/octet-stream"),
    "endpoint, base64": lambda data: (
        json.dumps({"image": base64.b64encode(data).decode()}).encode(),
        "application/json",
    ),
    "endpoint, multipart": form,
    "endpoint, npy": pixels,
}


def endpoint(
    url: str, payload: Callable[[bytes], tuple[bytes, str]], classes: tuple[str, ...]
) -> Callable[[bytes], Row | None]:
    def ask(data: bytes) -> Row | None:
        try:
            body, kind = payload(data)
            request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": kind})
            with urllib.request.urlopen(request, timeout=60) as response:
                shares = json.load(response)["probabilities"]
        except ClearsightError:  # the client's own decoding
            return None
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise
            return None
        return np.array([shares[name] for name in classes])

    return ask


def transformed(model: Path, folder: Path, files: list[Path], classes: tuple[str, ...]) -> list[Row | None]:
    listed = folder / "images.csv"
    listed.write_text("path\n" + "".join(f"{file}\n" for file in files))
    output = folder / "rows.jsonl"
    transform(model, listed, output)
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    return [None if "error" in row else np.array([row["probabilities"][name] for name in classes]) for row in rows]


def compare(name: str, reference: list[Row | None], rows: list[Row | None]) -> str:
    refused = [(a is None) != (b is None) for a, b in zip(reference, rows, strict=True)]
    pairs = [(a, b) for a, b in zip(reference, rows, strict=True) if a is not None and b is not None]
    same = np.mean([a.argmax() == b.argmax() for a, b in pairs])
    difference = max(float(np.abs(a - b).max()) for a, b in pairs)
    agreement = f"same class {same:.2%} of {len(pairs)}, probabilities within {difference:.1e}"
    return f"{name:<22} {agreement}, {sum(refused)} read by one alone"


def ways(model: Path, files: list[Path], folder: Path) -> Iterator[tuple[str, list[Row | None]]]:
    contents = [file.read_bytes() for file in files]
    with open_bundle(model) as bundle:
        for name in ("torch", "onnx", *(["openvino"] if importlib.util.find_spec("openvino") else [])):
            yield name, list(map(runtime(bundle, name), contents))
        with serving(model, ServeOptions(port=0)) as url:
            for name, payload in PAYLOADS.items():
                yield name, list(map(endpoint(url, payload, bundle.classes), contents))
        yield "transform", transformed(model, folder, files, bundle.classes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    args = parser.parse_args()
    print(machine())
    data = shared() / "data"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = args.model or make_model(folder)
        for title, files in (
            ("intel-scenes, test", sorted((data / "intel-scenes" / "seg_test").rglob("*.jpg"))),
            (
                "bad-inputs",
                sorted(path for path in (data / "bad-inputs").iterdir() if path.suffix not in (".md", ".json", ".csv")),
            ),
        ):
            print(title)
            (folder / title[:3]).mkdir()
            found = iter(ways(model, files, folder / title[:3]))
            reference = next(found)[1]
            for way, rows in found:
                print("  " + compare(way, reference, rows))


if __name__ == "__main__":
    main()
