"""python -m local.bill BILL LAYER: check that a bill of materials lists what the layer ships."""

import json
import re
import sys
from importlib.metadata import distributions
from pathlib import Path

Package = tuple[str, str]
"""Its name, as PEP 503 writes it, and version."""


def listed(bill: Path) -> set[Package]:
    """The packages of a bill of materials, CycloneDX as JSON."""
    components = json.loads(bill.read_text())["components"]
    return {_package(component["name"], component["version"]) for component in components}


def shipped(layer: Path) -> set[Package]:
    """The packages that are installed in a folder."""
    return {_package(found.name, found.version) for found in distributions(path=[str(layer)])}


def main(bill: Path, layer: Path) -> int:
    """Print what differs, or how much is listed; the exit status."""
    on_paper, in_fact = listed(bill), shipped(layer)
    for name, version in sorted(in_fact - on_paper):
        print(f"{bill} lacks {name} {version}", file=sys.stderr)
    for name, version in sorted(on_paper - in_fact):
        print(f"{bill} has {name} {version}, which is not shipped", file=sys.stderr)
    if not in_fact:
        print(f"nothing is installed in {layer}", file=sys.stderr)
    if on_paper != in_fact or not in_fact:
        return 1
    print(f"{bill} lists the {len(on_paper)} packages that are shipped")
    return 0


def _package(name: str, version: str) -> Package:
    return re.sub(r"[-_.]+", "-", name).lower(), version


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
