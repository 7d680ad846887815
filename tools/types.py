"""python -m tools.types FILE: write the TypeScript types of the API, by openapi-typescript.

Some rules of the document are for validators, and would make types that nothing fits: which sides
go together, and which fields exclude each other. They are left out of the types.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from tools import ROOT

DOCUMENT: Final = ROOT / "layers/sd3/sd3/api/openapi.json"
NODE: Final = ROOT / ".tools/node/bin/node"
GENERATOR: Final = ROOT / "requirements/npm-types/node_modules/openapi-typescript/bin/cli.js"
_OF_OBJECTS: Final = frozenset(("anyOf", "not", "patternProperties", "maxProperties"))


def main(arguments: list[str]) -> int:
    """Write the types, and return the exit status."""
    [target] = arguments
    with tempfile.TemporaryDirectory() as folder:
        document = Path(folder, "openapi.json")
        document.write_text(json.dumps(for_types(json.loads(DOCUMENT.read_text()))))
        done = subprocess.run(
            [NODE, GENERATOR, document, "--output", target, "--default-non-nullable", "false"],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    return done.returncode


def for_types(part: Any) -> Any:
    """Select what types can say of a part of the document."""
    if isinstance(part, list):
        return [for_types(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {name: for_types(each) for name, each in part.items() if _can_say(name, each, part)}
    if isinstance(fields := kept.get("properties"), dict):
        kept["properties"] = {n: each for n, each in fields.items() if each.get("type") != "null"}
        # A constant tells one schema from another: it is sent, whatever its default.
        constants = [name for name, each in fields.items() if "const" in each]
        kept["required"] = sorted({*kept.get("required", ()), *constants})
    return kept


def _can_say(name: str, value: Any, part: dict[str, Any]) -> bool:
    if name in {"example", "examples"}:
        return False
    if name == "title":
        return not isinstance(value, str) or "version" in part
    if name == "allOf":  # more patterns of one text
        return any(each.keys() - {"pattern"} for each in value)
    return name not in _OF_OBJECTS or "properties" not in part


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
