"""One part of a page: a heading, and a template of its own with the values it shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clearsight.reports.panel import Panel
from clearsight.reports.table import Table


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """key: anchor on the page.  template: file under templates/.  values: what the template may name.

    panels: the charts in it; the template gets them as `panels`.  tables: those in it that stand without a chart, as
    `values` holds them too.  scripts: files under templates/ that the part runs.
    """

    key: str
    title: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)
    panels: tuple[Panel, ...] = ()
    tables: tuple[Table, ...] = ()
    scripts: tuple[str, ...] = ()
