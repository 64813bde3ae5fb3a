"""pdf: a page as PDF, printed by a browser on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from clearsight.core.errors import BadValue, NotFound

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_DRAWING_MS = 20_000  # of the page's own clock, which runs as fast as it can, for its figures to be drawn
_TIMEOUT = 180.0  # seconds; a slow machine may need over a minute for a long report
_WIDTH = 718  # CSS pixels of an A4 page between margins of 1 cm

# No updates, extensions or synchronisation: they take time, and a report is nobody else's business.
_OPTIONS = (
    *("--headless", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-default-apps", "--disable-extensions", "--disable-sync", "--hide-scrollbars"),
    *("--no-default-browser-check", "--no-first-run", "--no-pdf-header-footer", f"--window-size={_WIDTH},1000"),
    "--host-resolver-rules=MAP * ~NOTFOUND",  # no host name resolves: the browser prints offline
)


def print_pdf(page: Path, out: Path, *, browser: str | None = None) -> Path:
    """Print the HTML file `page` with its figures to the PDF file `out`; return `out`.

    browser: its path or name, else the first of BROWSERS that is installed.
    Raises NotFound without a browser, BadValue where it prints nothing.
    """
    program = find_browser(browser)
    out.parent.mkdir(parents=True, exist_ok=True)
    # A profile of its own: the user's browser may be running, and its profile is locked then.
    with tempfile.TemporaryDirectory(prefix="clearsight-print-", ignore_cleanup_errors=True) as folder:
        printed, laid_out = Path(folder) / "page.pdf", Path(folder) / "page.html"
        laid_out.write_text(on_paper(page.read_text(encoding="utf-8")), encoding="utf-8")
        # Chromium refuses to run for root without this option; for all other users the sandbox stays on.
        sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
        words = [program, *_OPTIONS, *sandbox, f"--user-data-dir={folder}/profile"]
        words += [f"--virtual-time-budget={_DRAWING_MS}", f"--print-to-pdf={printed}", laid_out.as_uri()]
        try:
            done = subprocess.run(words, capture_output=True, text=True, errors="replace", timeout=_TIMEOUT)
        except subprocess.TimeoutExpired:
            raise BadValue(program, f"it did not print the page within {_TIMEOUT:.0f} seconds") from None
        # Judged by the file: a page is a success whatever the exit code.
        if not printed.is_file():
            last = (done.stderr.strip().splitlines() or ["no error message"])[-1]
            raise BadValue(
                program,
                f"it printed no page (exit code {done.returncode}: {last})",
                fix="Name another browser with --browser, or open the HTML page and print it from there.",
            )
        shutil.copyfile(printed, out)
    return out


def on_paper(page: str) -> str:
    """Return the page with the layout of A4 paper on the screen too.

    A browser draws the figures for the screen, and prints before they are drawn again for paper: both must have the
    same width.
    """
    style, end, rest = page.partition("</style>")
    style = style.replace("@media screen", "@media speech").replace("@media print", "@media all")
    return f"{style}\n@page {{ size: A4; margin: 1cm; }}\n{end}{rest}"


def find_browser(name: str | None = None) -> str:
    """Return the path of the browser that prints: `name` (a path or a command), else the first of BROWSERS.

    Raises NotFound where it is not installed.
    """
    program = next(filter(None, map(shutil.which, BROWSERS if name is None else [name])), None)
    if program is not None:
        return program
    if name is not None:
        raise NotFound(f"--browser {name}", "there is no such program", fix=_INSTALL)
    problem = f"it needs a browser to print, and none of {', '.join(BROWSERS)} is installed"
    raise NotFound("--format pdf", problem, fix=_INSTALL)


_INSTALL = (
    "Install Chromium (Debian and Ubuntu: apt install chromium; Fedora: dnf install chromium; macOS: brew install "
    "--cask chromium), or name Chrome, Chromium or Edge with --browser PATH."
)
