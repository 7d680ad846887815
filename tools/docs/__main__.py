"""python -m tools.docs FOLDER: write the generated tables into the pages of that folder."""

import json
import sys
from pathlib import Path

from tools.docs.errors import errors_table
from tools.docs.fields import fields_table
from tools.docs.markdown import fill
from tools.docs.parameters import parameters_table
from tools.docs.routes import routes_table
from tools.translation import read_template

ROOT = Path(__file__).resolve().parents[2]


def main(folder: Path) -> None:
    """Replace each table between its markers; the same code gives the same pages."""
    document = json.loads((ROOT / "layers/sd3/sd3/api/openapi.json").read_text())
    parameters = read_template(ROOT / "template.yaml")["Parameters"]
    fill(folder / "settings.md", "parameters", parameters_table(parameters))
    fill(folder / "errors.md", "errors", errors_table())
    fill(folder / "api.md", "routes", routes_table(document))
    fill(folder / "api.md", "fields", fields_table(document))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
