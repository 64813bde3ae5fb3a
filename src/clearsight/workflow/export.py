"""export: a bundle as one archive, to deploy elsewhere."""

from __future__ import annotations

from pathlib import Path

from clearsight.core.bundle import open_bundle
from clearsight.core.errors import BadValue


def export(model: str | Path, out: str | Path) -> Path:
    """Write the run or bundle `model` as the archive `out` (.tar.gz, the model.tar.gz layout); return its path."""
    path = Path(out)
    if not path.name.endswith((".tar.gz", ".tgz")):
        raise BadValue(f"--out {out}", "a bundle is packed as .tar.gz", fix="Name it model.tar.gz, for example.")
    with open_bundle(Path(model)) as bundle:
        return bundle.pack(path)
