"""Report of an analysis: the heat maps with their scores on one page, as HTML, and as PDF where a browser prints it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from clearsight.core.errors import ClearsightError
from clearsight.workflow.display.pdf import print_pdf

_MOST_SHOWN = 100  # heat maps on the page; all of them are files beside it


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedImage:
    """An image of the report. file: its heat map.  rows: label, score, score of the baseline; the highest first."""

    name: str
    file: Path
    rows: Sequence[tuple[str, float, float]]


def write_report(folder: Path, title: str, facts: Sequence[tuple[str, Any]], images: Sequence[ReportedImage]) -> str:
    """Write report.html and report.pdf into a folder; return why there is no PDF, "" where there is one."""
    environment = Environment(
        loader=PackageLoader("clearsight_sagemaker", "templates"), autoescape=True, undefined=StrictUndefined
    )
    shown = [
        {
            "name": image.name,
            "rows": image.rows,
            "data": base64.b64encode(image.file.read_bytes()).decode(),
        }
        for image in images[:_MOST_SHOWN]
    ]
    page = folder / "report.html"
    text = environment.get_template("clarify_report.html").render(
        title=title, facts=facts, images=shown, count=len(images)
    )
    page.write_text(text, encoding="utf-8")
    try:
        print_pdf(page, folder / "report.pdf")
    except ClearsightError as error:
        return str(error)
    return ""
