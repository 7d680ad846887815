"""python -m local.openapi FOLDER: write openapi.json and docs.html there."""

import json
import sys
from pathlib import Path

from local.openapi.document import document
from local.openapi.page import page


def main(folder: Path) -> None:
    """Write both files, the same for the same models."""
    told = document()
    (folder / "openapi.json").write_text(json.dumps(told, indent=1) + "\n")
    (folder / "docs.html").write_text(page(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
