"""An endpoint of clearsight beside a plain server: requests per second, latencies, memory, seconds to the first answer.

    python benchmarks/serving.py [--seconds 5] [--repeats 3] [--clients 1 8 32] [--model RUN | --network resnet50]
                                 [--peers PYTHON]

A client thread sends JPEG photographs of intel-scenes one after another and reads JSON. The plain server is what a
tutorial writes: Starlette, Pillow and the network in torch, in one uvicorn process. Both serve the same bundle, by
default one of mobilenetv2_100 with a new head (its answers mean nothing, its cost is that of a trained one). The arms
take turns; each figure is the median over the repeats with its range.

With --peers, LitServe and Ray Serve take part, each as its tutorial for images has it (one worker, one replica).
PYTHON is the interpreter of an environment with litserve and ray[serve] that sees the packages of clearsight too.
Memory is that of the whole process tree, shared pages counted in each. LitServe gets the JPEG as base64 in JSON. The
limit of the machine is decoding, preparing and inferring the same images one after another in this process, without
HTTP.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from measured import machine, shared, spread

PLAIN = """
import io, json, sys, torch, uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from torchvision import transforms as T
import clearsight
network = clearsight.load(sys.argv[1])
model, size = network.model.eval(), network.preprocess.size
change = T.Compose([T.Resize(int(size / 0.875)), T.CenterCrop(size), T.ToTensor(),
                    T.Normalize(network.preprocess.mean, network.preprocess.std)])
async def invocations(request):
    image = Image.open(io.BytesIO(await request.body())).convert("RGB")
    with torch.no_grad():
        shares = model(change(image)[None]).softmax(1)[0]
    return JSONResponse({"label": int(shares.argmax()), "probabilities": shares.tolist()})
app = Starlette(routes=[Route("/invocations", invocations, methods=["POST"])])
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


LITSERVE = """
import base64, io, sys, torch, litserve
from PIL import Image
from torchvision import transforms as T
import clearsight
class ImageApi(litserve.LitAPI):
    def setup(self, device):
        network = clearsight.load(sys.argv[1])
        self.model, size = network.model.eval().to(device), network.preprocess.size
        self.change = T.Compose([T.Resize(int(size / 0.875)), T.CenterCrop(size), T.ToTensor(),
                                 T.Normalize(network.preprocess.mean, network.preprocess.std)])
    def decode_request(self, request):
        image = Image.open(io.BytesIO(base64.b64decode(request["image_data"]))).convert("RGB")
        return self.change(image)[None]
    def predict(self, image):
        with torch.no_grad():
            return self.model(image).softmax(1)[0]
    def encode_response(self, shares):
        return {"label": int(shares.argmax()), "probabilities": shares.tolist()}
if __name__ == "__main__":
    litserve.LitServer(ImageApi(api_path="/invocations"), accelerator="cpu").run(
        host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
"""
RAY_SERVE = """
import io, sys, time, torch
from PIL import Image
from torchvision import transforms as T
from ray import serve
@serve.deployment
class ImageModel:
    def __init__(self, path):
        import clearsight
        network = clearsight.load(path)
        self.model, size = network.model.eval(), network.preprocess.size
        self.change = T.Compose([T.Resize(int(size / 0.875)), T.CenterCrop(size), T.ToTensor(),
                                 T.Normalize(network.preprocess.mean, network.preprocess.std)])
    async def __call__(self, request):
        image = Image.open(io.BytesIO(await request.body())).convert("RGB")
        with torch.no_grad():
            shares = self.model(self.change(image)[None]).softmax(1)[0]
        return {"label": int(shares.argmax()), "probabilities": shares.tolist()}
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
serve.run(ImageModel.bind(sys.argv[1]), route_prefix="/invocations", blocking=True)
"""
SCRIPTS = {"plain": PLAIN, "LitServe": LITSERVE, "Ray Serve": RAY_SERVE}
_START_SECONDS = 120.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(words: list[str], port: int, request: tuple[bytes, str]) -> Iterator[tuple[float, Callable[[], float]]]:
    """Start a server; yield the seconds to its first answer and a function of its memory in MiB."""
    start = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with {process.returncode}: {words}")
            try:
                ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), request)
                break
            except (OSError, RuntimeError):  # nobody is there yet, or nobody who knows the path
                if time.perf_counter() - start > _START_SECONDS:
                    raise
                time.sleep(0.01)
        seconds = time.perf_counter() - start
        yield seconds, lambda: tree_memory(process.pid)
    finally:
        children = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        process.wait(60)
        for child in children:  # Ray's processes outlive the one that has started them by some seconds
            with contextlib.suppress(psutil.NoSuchProcess):
                child.terminate()
        psutil.wait_procs(children, 30)


def tree_memory(pid: int) -> float:
    """Return the memory of a process and its children in MiB."""
    process = psutil.Process(pid)
    return sum(each.memory_info().rss for each in (process, *process.children(recursive=True))) / (1 << 20)


def ask(connection: http.client.HTTPConnection, request: tuple[bytes, str]) -> None:
    body, content_type = request
    connection.request("POST", "/invocations", body, {"Content-Type": content_type})
    response = connection.getresponse()
    content = response.read()
    if response.status != 200 or "probabilities" not in json.loads(content):
        raise RuntimeError(f"{response.status}: {content[:200]!r}")


def requests_of(arm: str, photos: list[bytes]) -> list[tuple[bytes, str]]:
    """Return bodies and media types of the requests of an arm."""
    if arm == "LitServe":
        texts = [base64.b64encode(photo).decode() for photo in photos]
        return [(json.dumps({"image_data": text}).encode(), "application/json") for text in texts]
    return [(photo, "image/jpeg") for photo in photos]


def load(port: int, requests: list[tuple[bytes, str]], clients: int, seconds: float) -> tuple[float, list[float]]:
    """Return requests per second and the latencies of so many clients."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    end = time.perf_counter() + seconds

    def run(place: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        for request in itertools.cycle(requests[place:] + requests[:place]):
            start = time.perf_counter()
            if start > end:
                return
            ask(connection, request)
            latencies[place].append(time.perf_counter() - start)

    threads = [threading.Thread(target=run, args=(place,)) for place in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = [value for row in latencies for value in row]
    return len(every) / (time.perf_counter() - begun), sorted(every)


def limit(model: Path, photos: list[bytes], seconds: float) -> float:
    """Return images per second of decoding, preparing and inferring in a loop."""
    from clearsight.core.bundle import open_bundle
    from clearsight.workflow.predictors import open_predictor

    with open_bundle(model) as bundle:
        predictor = open_predictor(bundle)
        start = time.perf_counter()
        for count, photo in enumerate(itertools.cycle(photos), 1):
            predictor.probabilities(predictor.prepared(photo)[None])
            if time.perf_counter() - start > seconds:
                return count / (time.perf_counter() - start)
    raise AssertionError("a cycle has no end")


def make_model(folder: Path, network: str = "timm/mobilenetv2_100") -> Path:
    """Train one epoch of the head, for a bundle."""
    weights: Path | str = shared() / "weights" / "mobilenetv2_100_imagenet.safetensors"
    if network != "timm/mobilenetv2_100":
        weights = "none"  # its answers mean nothing either way
    words = ["train", shared() / "data" / "intel-scenes", "-m", network, "--weights", weights]
    words += ["--freeze", "backbone", "--epochs", "1", "--limit", "120", "--profile", "off", "--out", folder / "run"]
    subprocess.run([sys.executable, "-m", "clearsight", *map(str, words)], check=True, stdout=subprocess.DEVNULL)
    return folder / "run"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--network", default="timm/mobilenetv2_100")
    parser.add_argument("--peers", type=Path, help="interpreter with litserve and ray[serve]")
    args = parser.parse_args()
    photos = [path.read_bytes() for path in sorted((shared() / "data" / "intel-scenes" / "seg_test").rglob("*.jpg"))]
    print(f"{machine()}; {args.network}; {args.seconds:g} s each, n={args.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        model = args.model or make_model(Path(folder), args.network)
        print(f"limit: {spread([limit(model, photos, args.seconds) for _ in range(args.repeats)])} images/s in a loop")
        figures: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
        starts: dict[str, list[tuple[float, float]]] = {}
        for _ in range(args.repeats):
            for arm in ("plain", *(("LitServe", "Ray Serve") if args.peers else ()), "clearsight"):
                port, requests = free_port(), requests_of(arm, photos)
                if arm == "clearsight":
                    words = [sys.executable, "-m", "clearsight", "serve", str(model), "--port", str(port)]
                else:
                    script = Path(folder) / f"{arm.replace(' ', '_')}.py"
                    script.write_text(SCRIPTS[arm])
                    python = sys.executable if arm == "plain" else args.peers
                    words = [str(python), str(script), str(model), str(port)]
                with server(words, port, requests[0]) as (seconds, memory):
                    for clients in args.clients:
                        speed, latencies = load(port, requests, clients, args.seconds)
                        p50, p99 = (latencies[int(share * (len(latencies) - 1))] for share in (0.5, 0.99))
                        figures.setdefault((arm, clients), []).append((speed, 1000 * p50, 1000 * p99))
                    starts.setdefault(arm, []).append((seconds, memory()))
    report(figures, starts, args.clients)


def report(
    figures: dict[tuple[str, int], list[tuple[float, float, float]]],
    starts: dict[str, list[tuple[float, float]]],
    clients: list[int],
) -> None:
    for arm, values in starts.items():
        seconds, memory = zip(*values, strict=True)
        print(f"{arm}: {spread(list(seconds), 2)} s to the first answer, {spread(list(memory), 0)} MiB after the load")
    for count in clients:
        for arm in starts:
            speed, p50, p99 = (spread(list(values)) for values in zip(*figures[arm, count], strict=True))
            print(f"{arm}, {count} clients: {speed} requests/s, p50 {p50} ms, p99 {p99} ms")
        for arm in set(starts) - {"clearsight"}:
            pairs = zip(figures["clearsight", count], figures[arm, count], strict=True)
            print(f"  requests/s as a multiple of {arm}: {spread([ours[0] / theirs[0] for ours, theirs in pairs], 2)}")


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
