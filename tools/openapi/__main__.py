"""python -m tools.openapi FILE: write the OpenAPI document there."""

import json
import sys
from pathlib import Path

from tools.openapi.document import document


def main(path: Path) -> None:
    """Write the document; the same models give the same bytes."""
    path.write_text(json.dumps(document(), indent=1) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
