"""Printing of pages as PDF."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from clearsight.core.errors import BadValue, NotFound
from clearsight.workflow.display.pdf import BROWSERS, find_browser, on_paper, print_pdf
from tests.workflow.pdf_text import pages, text

needs_browser = pytest.mark.skipif(
    not any(map(shutil.which, BROWSERS)), reason="no Chromium or Chrome on this machine to print with"
)


@needs_browser
def test_a_page_is_printed_after_its_scripts_have_drawn_for_the_width_of_the_paper(tmp_path: Path) -> None:
    script = 'setTimeout(() => document.querySelector("p").textContent = `drawn ${innerWidth} wide`, 3000)'
    page = f"<style>p {{ break-after: page; }}</style><h1>Title</h1><p></p><p>end</p><script>{script}</script>"
    (tmp_path / "page.html").write_text(page)
    printed = print_pdf(tmp_path / "page.html", tmp_path / "new" / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert pages(printed) == 2
    assert text(printed) == "Titledrawn718wideend"
    assert (tmp_path / "page.html").read_text() == page


def test_the_screen_gets_the_layout_of_the_paper() -> None:
    page = "<style>@media screen and (max-width: 9rem) { a {} } @media print { b {} }</style><p>@media print</p>"
    laid_out = on_paper(page)
    style, _, body = laid_out.partition("</style>")
    assert "@media screen" not in style
    assert "@media all { b {} }" in style
    assert "size: A4" in style
    assert body == "<p>@media print</p>"


def test_without_a_browser_the_error_tells_how_to_install_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match=r"none of chromium.*is installed.*apt install chromium.*--browser PATH"):
        find_browser()


def test_a_named_browser_must_exist(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"--browser .*nothing: there is no such program"):
        find_browser(str(tmp_path / "nothing"))


def test_browsers_are_found_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "google-chrome"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_browser() == str(program)


def test_the_error_quotes_a_program_that_prints_nothing(tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\necho cannot open display >&2\nexit 3\n")
    program.chmod(0o755)
    (tmp_path / "page.html").write_text("<p>")
    with pytest.raises(BadValue, match=r"printed no page \(exit code 3: cannot open display\)"):
        print_pdf(tmp_path / "page.html", tmp_path / "page.pdf", browser=str(program))
    assert not (tmp_path / "page.pdf").exists()
