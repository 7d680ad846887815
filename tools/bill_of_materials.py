"""python -m tools.bill_of_materials BILL NPM_LOCK LAYER ...: list what the layers ship.

The bill is checked against the packages in the layers of packages. The npm package that the sd3
layer ships is added from npm's lock.
"""

import base64
import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Final

SHIPPED_FROM_NPM: Final = "swagger-ui-dist"

Package = tuple[str, str]
"""Name, normalized as in PEP 503, and version."""


def listed(bill: Path) -> set[Package]:
    """Read the packages of a bill of materials in CycloneDX's JSON."""
    components = json.loads(bill.read_text())["components"]
    return {_package(component["name"], component["version"]) for component in components}


def shipped(*layers: Path) -> set[Package]:
    """Find the packages that are installed in these folders."""
    found = distributions(path=[*map(str, layers)])
    return {_package(each.name, each.version) for each in found}


def add_from_npm(bill: Path, lock: Path) -> None:
    """Add the shipped npm package, with its version and hash from the lock."""
    package = json.loads(lock.read_text())["packages"][f"node_modules/{SHIPPED_FROM_NPM}"]
    purl = f"pkg:npm/{SHIPPED_FROM_NPM}@{package['version']}"
    algorithm, _, digest = package["integrity"].partition("-")
    component: dict[str, Any] = {
        "bom-ref": purl,
        "type": "library",
        "name": SHIPPED_FROM_NPM,
        "version": package["version"],
        "purl": purl,
        "licenses": [{"license": {"id": package["license"]}}],
        "hashes": [
            {
                "alg": algorithm.upper().replace("SHA", "SHA-"),
                "content": base64.b64decode(digest).hex(),
            }
        ],
    }
    content = json.loads(bill.read_text())
    content["components"].append(component)
    content.setdefault("dependencies", []).append({"ref": purl})
    bill.write_text(json.dumps(content, indent=1) + "\n")


def main(bill: Path, npm_lock: Path, *layers: Path) -> int:
    """Print the differences, or the number of packages, and return the exit status."""
    on_bill, in_layer = listed(bill), shipped(*layers)
    for name, version in sorted(in_layer - on_bill):
        print(f"{bill} lacks {name} {version}", file=sys.stderr)
    for name, version in sorted(on_bill - in_layer):
        print(f"{bill} has {name} {version}, which is not shipped", file=sys.stderr)
    if not in_layer:
        print(f"nothing is installed in {' or '.join(map(str, layers))}", file=sys.stderr)
    if on_bill != in_layer or not in_layer:
        return 1
    add_from_npm(bill, npm_lock)
    print(f"{bill} lists the {len(on_bill) + 1} packages that are shipped")
    return 0


def _package(name: str, version: str) -> Package:
    return re.sub(r"[-_.]+", "-", name).lower(), version


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
