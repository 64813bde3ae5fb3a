"""Write docs/images/: trains small runs on the shared data, and takes pictures of their pages and of the terminal.

Usage: python docs/screenshots.py SHARED, where SHARED has data/ and weights/ (about two minutes on two cores).
It needs Chromium and playwright, which are requirements of the tests.
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from rich.console import Console
from rich.text import Text

IMAGES = Path(__file__).parent / "images"
WEIGHTS = "mobilenetv2_100_imagenet.safetensors"
MODEL = ("-m", "timm/mobilenetv2_100", "--weights", WEIGHTS)
_COLOURS = 256  # of a PNG: text and charts need few, and photographs become a third as large
_TIMEOUT = 600.0  # seconds of one command

FIRST = ("train", "intel-scenes", *MODEL, "--freeze", "backbone", "--epochs", "12", "--out", "runs/first")
# name, words of the command line
COMMANDS: dict[str, tuple[str, ...]] = {
    "first": FIRST,
    "isic": ("train", "isic-2024", *MODEL, "--freeze", "backbone", "--epochs", "12", "--out", "runs/isic"),
    "failed": ("train", "intel-scenes", "-m", "alexnet", "--weights", "none", "--image-size", "96", "--limit", "210",
               "--optimizer", "sgd", "--lr", "10", "--schedule", "constant", "--warmup", "0", "--epochs", "4",
               "--out", "runs/failed"),
    "study": ("tune", "intel-scenes", *MODEL, "--freeze", "backbone", "--epochs", "8", "--trials", "16",
              "--space", "lr=log(1e-5,1e0)", "--space", "weight_decay=log(1e-6,1e-1)",
              "--space", "optimizer=[sgd,adamw]", "--out", "studies/scenes"),
    "data": ("data", "dog-breeds", "--html", "data.html"),
}  # fmt: skip

# image, page, anchor to begin at, width, height, colour scheme
SHOTS = (
    ("report", "runs/first/report.html", "", 1100, 900, "light"),
    ("report-system", "runs/first/report.html", "#system", 1100, 900, "light"),
    ("report-isic", "runs/isic/report.html", "", 1100, 900, "dark"),
    ("report-failed", "runs/failed/report.html", "", 1100, 900, "light"),
    ("study", "studies/scenes/report.html", "", 1000, 2250, "light"),
    ("data", "data.html", "#examples", 1000, 480, "light"),
)


def main() -> None:
    """Train, print and photograph everything in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shared", type=Path, help="folder with data/ and weights/")
    shared: Path = parser.parse_args().shared
    with TemporaryDirectory(prefix="clearsight-docs-") as name:
        folder = Path(name).resolve()
        # Copies instead of links: a link would be resolved, and its path would be on every image.
        for data in ("intel-scenes", "isic-2024", "dog-breeds"):
            shutil.copytree(shared / "data" / data, folder / data)
        shutil.copyfile(shared / "weights" / WEIGHTS, folder / WEIGHTS)
        lines = {key: run(words, folder) for key, words in COMMANDS.items()}
        terminal(f"$ clearsight {' '.join(FIRST)}", lines["first"])
        photograph(folder)


def run(words: Sequence[str], folder: Path) -> list[str]:
    """Run a command in `folder` and return its lines, without the path of the folder."""
    environment = {**os.environ, "CLEARSIGHT_CACHE": str(folder / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "clearsight", *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=_TIMEOUT)
    # A run that diverges ends with 1, which is what its image shows.
    if done.returncode not in (0, 1):
        raise SystemExit(f"clearsight {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    print(f"clearsight {' '.join(words)}", file=sys.stderr)
    return done.stdout.replace(f"{folder}/", "").splitlines()


def terminal(command: str, lines: Sequence[str]) -> None:
    """Write terminal.svg: a command and what it prints."""
    console = Console(record=True, width=132, file=io.StringIO())
    console.print(Text(command, style="bold"))
    for line in lines:
        console.print(Text(line))
    # The same name each time, so that an unchanged output leaves the file unchanged.
    svg = console.export_svg(title="clearsight train", unique_id="clearsight-train")
    # Rich asks for a font from the network; the page that shows the image may not fetch it.
    start, end = svg.index("@font-face"), svg.rindex("}", 0, svg.index("-matrix {"))
    svg = (svg[:start] + svg[end + 1 :]).replace("Fira Code", "DejaVu Sans Mono")
    (IMAGES / "terminal.svg").write_text(svg, encoding="utf-8")


def photograph(folder: Path) -> None:
    """Write a PNG of each page in SHOTS."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, page, anchor, width, height, scheme in SHOTS:
            html = (folder / page).read_text(encoding="utf-8").replace(f"{folder}/", "")
            (folder / page).write_text(html, encoding="utf-8")
            size = {"width": width, "height": height}
            # Reduced motion: the page scrolls to an anchor at once.
            context = browser.new_context(viewport=size, color_scheme=scheme, reduced_motion="reduce")
            shot(context.new_page(), f"{(folder / page).as_uri()}{anchor}", IMAGES / f"{name}.png")
            context.close()
        browser.close()


def shot(page: Any, address: str, path: Path) -> None:
    """Write what a browser of the context's size shows at `address`."""
    page.goto(address, wait_until="load")
    page.wait_for_load_state("networkidle")
    image = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    image.quantize(_COLOURS, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
