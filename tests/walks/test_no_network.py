"""No command looks up a host or opens a connection that nobody asked for, and none leaves a device id on the disk.

A small library in C, preloaded into the processes of clearsight and their children, records the calls, also those of
compiled code.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from clearsight.workflow.display.pdf import BROWSERS

# One process for all commands, which imports torch once. A failed command ends it.
COMMANDS = """
import json, sys
from clearsight.cli import main
for words in json.loads(sys.argv[1]):
    if code := main(words):
        sys.exit(f"clearsight {' '.join(words)}: exit code {code}")
"""


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the compiled library."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the recorder of connections needs Linux and a C compiler")
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    source = Path(__file__).parent / "recorder.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    return library


class Recording:
    """Runs commands in an empty home with the recorder preloaded. calls: what it has recorded."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.home, self._log = folder / "home", folder / "calls.txt"
        self.home.mkdir()
        unset = ("CI", "GITHUB_ACTIONS", "XDG_CACHE_HOME", "CLEARSIGHT_CACHE", "ORT_DISABLE_TELEMETRY")
        self.environment = {name: value for name, value in os.environ.items() if name not in unset}
        self.environment |= {"HOME": str(self.home), "LD_PRELOAD": str(library), "RECORDER_LOG": str(self._log)}

    def run(self, *words: object, folder: Path | None = None) -> str:
        """Run Python with `words`; return its standard output."""
        program = [sys.executable, *map(str, words)]
        done = subprocess.run(program, env=self.environment, capture_output=True, text=True, cwd=folder, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def commands(self, *commands: str, folder: Path) -> None:
        """Run commands of clearsight, given without its name, one after the other in one process."""
        self.run("-c", COMMANDS, json.dumps([command.split() for command in commands]), folder=folder)

    @property
    def calls(self) -> list[str]:
        return self._log.read_text(encoding="utf-8").splitlines() if self._log.exists() else []

    @property
    def files_of_others(self) -> list[str]:
        """Return what lies in the home outside of clearsight's cache."""
        files = [path.relative_to(self.home).as_posix() for path in self.home.rglob("*") if path.is_file()]
        return [file for file in files if not file.startswith(".cache/clearsight/")]


@pytest.fixture
def recording(recorder: Path, tmp_path: Path) -> Recording:
    return Recording(recorder, tmp_path)


def test_the_recorder_sees_look_ups_and_connections(recording: Recording) -> None:
    recording.run(
        "-c",
        "import contextlib, socket\n"
        "with contextlib.suppress(OSError): socket.getaddrinfo('clearsight.invalid', 443)\n"
        "with socket.socket(type=socket.SOCK_DGRAM) as far: far.connect(('127.0.0.1', 9))\n"
        "far = socket.socket(type=socket.SOCK_DGRAM)\n"
        "with contextlib.suppress(OSError): far.connect(('192.0.2.1', 9))",
    )  # a datagram socket sends nothing when it connects
    assert recording.calls == ["getaddrinfo clearsight.invalid", "connect 192.0.2.1"]


def test_importing_onnxruntime_leaves_no_trace(recording: Recording) -> None:
    printed = recording.run(
        "-c",
        "import os\nbefore = dict(os.environ)\n"
        "import clearsight\nfrom clearsight.core.machine import import_onnxruntime\n"
        "import_onnxruntime().SessionOptions()\nprint(os.environ == before)",
    )
    assert (printed.strip(), recording.calls, recording.files_of_others) == ("True", [], [])


def test_a_value_of_the_users_reaches_onnxruntime(recording: Recording) -> None:
    recording.environment["ORT_DISABLE_TELEMETRY"] = "0"
    program = "import os\nfrom clearsight.core.machine import import_onnxruntime\nimport_onnxruntime()\n"
    assert recording.run("-c", program + "print(os.environ['ORT_DISABLE_TELEMETRY'])").strip() == "0"


@pytest.mark.slow
def test_no_command_looks_up_a_host(recording: Recording, digits: Path, real_weights: Path, tmp_path: Path) -> None:
    tiny = f"{digits} --model tiny --weights none --image-size 32 --epochs 1"
    frozen = f"{digits} --model timm/mobilenetv2_100 --weights {real_weights} --freeze backbone --image-size 32"
    image = next((digits / "test").rglob("*.png"))
    openvino = ["openvino"] if find_spec("openvino") else []
    recording.commands(
        "doctor",
        "models",
        f"data {digits} --html data.html",
        f"train {tiny} --out whole",
        f"train {frozen} --epochs 2 --time-limit 0.001s --out frozen",
        "train --resume frozen --time-limit 10m",
        f"tune {tiny} --tune lr --trials 2 --parallel 2 --out study",
        "tune --resume study --trials 3",
        "debug whole",
        "profile whole",
        "watch whole --once",
        "compare whole frozen --out compare.html",
        f"evaluate frozen {digits}",
        f"predict frozen {image}",
        *(f"export frozen --format {name}" for name in ("bundle", "onnx", "safetensors")),
        *(f"export frozen --to {name}" for name in ("onnx", "torch-export", *openvino)),
        "benchmark frozen --seconds 0.1",
        "report whole",
        "report study",
        folder=tmp_path,
    )
    for runtime in ("onnxruntime", *openvino):
        serve_one_image(recording, image, runtime, tmp_path)
    assert recording.calls == []
    assert recording.files_of_others == []


def serve_one_image(recording: Recording, image: Path, runtime: str, folder: Path) -> None:
    """Start `clearsight serve`, have the image classified, and stop it."""
    program = [sys.executable, "-m", "clearsight", "serve", "frozen", "--port", "0", "--runtime", runtime]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(program, env=recording.environment, cwd=folder, text=True, **pipes) as server:
        try:
            assert server.stdout is not None
            url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
            request = urllib.request.Request(f"{url}/invocations", image.read_bytes(), {"Content-Type": "image/png"})
            with urllib.request.urlopen(request) as response:
                assert response.status == 200
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait() == 0


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="the extra ray is not installed")
def test_a_study_on_ray_looks_up_no_host(recording: Recording, digits: Path, tmp_path: Path) -> None:
    tiny = f"{digits} --model tiny --weights none --image-size 32 --epochs 1"
    recording.commands(f"tune {tiny} --tune lr --trials 2 --on ray --parallel 1 --out study", folder=tmp_path)
    # The token keeps other users of this machine from the cluster.
    assert (recording.calls, recording.files_of_others) == ([], [".ray/auth_token"])


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, BROWSERS)), reason="no browser that prints pages is installed")
def test_printing_a_report_looks_up_no_host(recording: Recording, digits: Path, tmp_path: Path) -> None:
    tiny = f"{digits} --model tiny --weights none --image-size 32 --epochs 1"
    recording.commands(f"train {tiny} --out run", "report run --format pdf", folder=tmp_path)
    # Chromium asks the system whether it has a route to this address, with a datagram socket that sends nothing.
    assert set(recording.calls) <= {"connect 2001:4860:4860::8888"}
