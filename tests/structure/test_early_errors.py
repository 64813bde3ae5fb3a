"""A mistake that needs neither torch nor an image is said before either is loaded; torch alone takes seconds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.workflow.run_folders import write_run

# Run in a fresh interpreter; what is loaded at the end is printed below the error.
_PROBE = """
import sys
from clearsight.cli import main
code = main(sys.argv[1:])
heavy = [name for name in ("torch", "timm", "torchvision", "onnxruntime") if name in sys.modules]
print(code, *heavy, file=sys.stderr)
"""


def error_and_loaded(words: list[str], cwd: Path) -> tuple[str, str]:
    """Return the error of `clearsight WORDS`, and its exit code with the names of heavy packages that it has loaded."""
    done = subprocess.run([sys.executable, "-c", _PROBE, *words], capture_output=True, text=True, cwd=cwd, timeout=120)
    error, loaded = done.stderr.splitlines()
    return error, loaded


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a dataset, a run whose data are gone, an empty folder, and a file of another kind."""
    (tmp_path / "images/train/cat").mkdir(parents=True)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("nothing to load")
    (tmp_path / "weights.safetensors").write_bytes(b"")
    write_run(tmp_path / "run")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train imags", "there is no such file or folder. Did you mean images"),
        ("train images --weights weigths.safetensors", "Did you mean weights.safetensors?"),
        ("train images --weights notes.txt", "files of type .txt cannot be read"),
        ("train images --model restnet18", "Did you mean resnet18?"),
        ("tune images --tune lr --model restnet18", "Did you mean resnet18?"),
        ("tune images --space model=[tiny,timm/resnet_18]", "Did you mean timm/resnet18?"),
        ("tune images --space weights=[none,w.safetensors]", "there is no such file"),
        ("train images --out run", "a run is there already"),
        ("train images --model timm/resnet18", "HF_HUB_OFFLINE is set, and the weights are not in the cache"),
        ("train images --lr 0", "must be a number, above 0"),
        ("train images --format folder", "Did you mean folders?"),
        ("train images --rules Overfitt", "Did you mean Overfit"),
        ("train images --on-finding stopp", "Did you mean stop"),
        ("train images --recipe none.yaml", "no such file"),
        ("train --resume empty", "there is no run in this folder"),
        ("train --resume run", "the data of this run no longer exist there"),
        ("train --resume run --lr 1", "--lr cannot be used with it"),
        ("tune imags --tune lr", "there is no such file or folder"),
        ("tune images --tune lr --weights weigths.safetensors", "weights.safetensors? Pass default, none, a"),
        ("tune --resume empty", "there is no study in this folder"),
        ("serve empty", "it is not a bundle or a finished run"),
        ("serve nowhere", "there is no run or bundle of that name"),
        ("predict run nowhere.jpg", "there is no such file"),
        ("predict empty notes.txt", "it is not a bundle or a finished run"),
        ("transform run nowhere out.csv", "there is no such file"),
        ("transform empty images out.csv", "it is not a bundle or a finished run"),
        ("transform run images out.txt", "files must end in"),
        ("evaluate empty images", "it is not a bundle or a finished run"),
        ("evaluate run imags", "there is no such file or folder"),
        ("debug empty", "no"),
        ("export empty", "it is not a bundle or a finished run"),
        ("compare run nowhere", "there is no run in this folder"),
        ("compare run", "2"),
        ("report empty", "there is no run in this folder"),
        ("watch empty", "no"),
        ("profile empty", "no"),
        ("profile --try empty", "there is no run in this folder"),
        ("profile --try run", "the data of this run no longer exist there"),
        ("data imags", "there is no such file or folder"),
    ],
)
def test_nothing_heavy_is_loaded_for_a_mistake(folder: Path, command: str, words: str) -> None:
    error, loaded = error_and_loaded(command.split(), folder)
    assert words in error
    assert loaded == "2"
