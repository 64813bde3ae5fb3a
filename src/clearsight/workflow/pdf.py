"""pdf: a page as PDF, printed by a browser that is on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from clearsight.core.errors import BadValue, NotFound

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_DRAWING_MS = 20_000  # of the page's own clock, which runs as fast as it can, for its figures to be drawn
_PATIENCE = 180.0  # seconds, of a slow machine
_WIDTH = 718  # CSS pixels of an A4 page between margins of 1 cm

# What a browser does for its maker is of no use here, and a report is nobody else's business.
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-pdf-header-footer",
    f"--window-size={_WIDTH},1000",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no name leads anywhere: it prints offline
)


def print_pdf(page: Path, out: Path, *, browser: str | None = None) -> Path:
    """Print the HTML file `page` to `out` as PDF, figures drawn; returns `out`.

    browser: its path or name, else the first of BROWSERS that is installed.
    Raises NotFound without a browser, BadValue where it prints nothing.
    """
    program = find_browser(browser)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="clearsight-print-", ignore_cleanup_errors=True) as folder:
        printed, laid_out = Path(folder) / "page.pdf", Path(folder) / "page.html"
        laid_out.write_text(on_paper(page.read_text(encoding="utf-8")), encoding="utf-8")
        words = [program, *_QUIET, *_sandbox(), f"--user-data-dir={folder}/profile"]
        words += [f"--virtual-time-budget={_DRAWING_MS}", f"--print-to-pdf={printed}", laid_out.as_uri()]
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            raise BadValue(program, f"it did not print the page within {_PATIENCE:.0f} seconds") from None
        if not printed.is_file():
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise BadValue(
                program,
                f"it printed no page (exit code {done.returncode}: {last})",
                fix="Name another browser with --browser, or open the HTML page and print it from there.",
            )
        shutil.copyfile(printed, out)
    return out


def on_paper(page: str) -> str:
    """The page laid out on the screen as it will be on A4.

    A browser draws the figures for the screen, and prints before they are drawn again for paper: both must be as wide.
    """
    style, end, rest = page.partition("</style>")
    style = style.replace("@media screen", "@media speech").replace("@media print", "@media all")
    return f"{style}\n@page {{ size: A4; margin: 1cm; }}\n{end}{rest}"


def find_browser(named: str | None = None) -> str:
    """The path of the browser that prints: `named` (a path, or a name on the search path), else one of BROWSERS.

    Raises NotFound where it is not there.
    """
    if named is not None:
        found = shutil.which(named)
        if found is None:
            raise NotFound(f"--browser {named}", "there is no such program", fix=_INSTALL)
        return found
    for name in BROWSERS:
        if found := shutil.which(name):
            return found
    raise NotFound(
        "--format pdf", f"it takes a browser to print, and there is none of {', '.join(BROWSERS)}", fix=_INSTALL
    )


_INSTALL = (
    "Install Chromium (Debian and Ubuntu: apt install chromium; Fedora: dnf install chromium; macOS: brew install "
    "--cask chromium), or name Chrome, Chromium or Edge with --browser PATH."
)


def _sandbox() -> list[str]:
    """Chromium refuses to work for root inside its sandbox; for everybody else the sandbox stays."""
    return ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
