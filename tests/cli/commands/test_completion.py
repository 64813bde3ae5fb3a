"""The scripts complete commands, flags and choices in a real shell."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clearsight.cli import main
from clearsight.cli.commands.completion import SCRIPTS, candidates


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (["tr"], ["train", "transform"]),
        (["e"], ["evaluate", "endpoints", "endpoint", "export"]),
        (["train", "photos", "--resu"], ["--resume"]),
        (["train", "photos", "--help-"], ["--help-all"]),
        (["train", "--augment", "st"], ["standard"]),
        (["train", "--schedule", ""], ["cosine", "step", "constant"]),
        (["train", "pho"], []),  # the shell completes files
        (["nothing", "--x"], []),
        (["profile", "--", "python", "--v"], []),
    ],
)
def test_words_that_may_come(line: list[str], found: list[str]) -> None:
    assert candidates(line) == found


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes_a_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "clearsight.bash"
    script.write_text(capsys.readouterr().out)
    command = tmp_path / "clearsight"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m clearsight "$@"\n')
    command.chmod(0o755)
    asked = """source ./clearsight.bash; COMP_WORDS=(clearsight train photos --batch); COMP_CWORD=3; _clearsight
    echo "${COMPREPLY[@]}"; complete -p clearsight"""
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["bash", "-c", asked], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.splitlines()[0] == "--batch-size"
    assert "-o default" in done.stdout


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_scripts_of_other_shells_parse(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"needs {shell}")
    subprocess.run([shell, "-n"], input=SCRIPTS[shell], text=True, check=True, timeout=60)


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    assert "Allowed: bash, zsh, fish" in capsys.readouterr().err
    assert main(["--install-completion"]) == 2
    assert "clearsight completion" in capsys.readouterr().err
