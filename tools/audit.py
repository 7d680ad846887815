"""python -m tools.audit LOCK...: look up the known vulnerabilities of all that is locked.

pip-audit counts a package as fine when its registry has no advisories to give, as mirrors have
not. Here that is told apart: a package that nobody could be asked about is not audited.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools import ROOT

PIP_AUDIT: Final = ROOT / ".tools/audit/bin/pip-audit"
NPM: Final = ROOT / ".tools/node/bin/npm"
NPM_LOCK: Final = "package-lock.json"

_OPTIONS: Final = (
    *("--format", "json", "--progress-spinner", "off"),
    *("--require-hashes", "--disable-pip", "--requirement"),
)
_SECONDS: Final = 600
"""Each package is a question of its own."""


@dataclass
class Audit:
    """What came of it."""

    asked: set[str] = field(default_factory=set)
    """Packages, with their versions."""
    unasked: list[str] = field(default_factory=list)
    """Packages by their lock, or why nothing is known of a whole lock."""
    vulnerable: list[str] = field(default_factory=list)
    """Vulnerabilities, a line for each."""


def audit(locks: Sequence[Path]) -> Audit:
    """Ask about every package of these lock files."""
    result = Audit()
    with ThreadPoolExecutor(len(locks)) as pool:
        answers = pool.map(_ask, locks)
        for lock, answer in zip(locks, answers, strict=True):
            if isinstance(answer, str):
                result.unasked.append(f"{lock.name}: {answer}")
                continue
            for package in answer:
                _sort(package, lock, result)
    return result


def _ask(lock: Path) -> list[dict[str, Any]] | str:
    """What is said of each package, as pip-audit says it, or why nothing is said."""
    command: list[str | Path] = [PIP_AUDIT, *_OPTIONS, lock]
    if lock.name == NPM_LOCK:
        command = [NPM, "audit", "--json", "--package-lock-only", "--prefix", lock.parent]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        report: dict[str, Any] = json.loads(run.stdout)
        if "message" in report:  # npm got no answer
            return str(report["message"])
        packages: list[dict[str, Any]] = (
            _packages_of_npm(report, lock) if lock.name == NPM_LOCK else report["dependencies"]
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {_SECONDS} s"
    except (ValueError, KeyError):
        return (run.stderr.strip().splitlines() or ["no answer"])[-1]
    return packages


def _packages_of_npm(report: dict[str, Any], lock: Path) -> list[dict[str, Any]]:
    """Every package of npm's lock, with what npm reports of it."""
    packages = []
    for path, locked in json.loads(lock.read_text())["packages"].items():
        name = path.rpartition("node_modules/")[2]
        found = report["vulnerabilities"].get(name, {"via": (), "fixAvailable": False})
        fixed = ["a newer version"] if found["fixAvailable"] else []
        vulns = [
            {"id": via["url"].rpartition("/")[2], "fix_versions": fixed}
            for via in found["via"]
            if isinstance(via, dict)  # a text names a dependency, which has an entry of its own
        ]
        if name:  # the project itself has none
            packages.append({"name": name, "version": locked["version"], "vulns": vulns})
    return packages


def _sort(package: dict[str, Any], lock: Path, result: Audit) -> None:
    if "skip_reason" in package:
        result.unasked.append(f"{lock.name}: {package['name']}")
        return
    name = f"{package['name']} {package['version']}"
    result.asked.add(name)
    for found in package["vulns"]:
        fixed = ", ".join(found["fix_versions"]) or "nothing yet"
        result.vulnerable.append(f"{lock.name}: {name}: {found['id']}, fixed by {fixed}")


def main(arguments: list[str]) -> int:
    """Print what was found; the exit status, 1 for a vulnerability or an audit that was none."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("locks", metavar="LOCK", type=Path, nargs="+")
    parser.add_argument("--unasked", choices=("fail", "warn"), default="fail")
    options = parser.parse_args(arguments)
    result = audit(options.locks)
    for line in result.vulnerable:
        print(f"vulnerable: {line}", file=sys.stderr)
    if result.unasked:
        first, more = result.unasked[0], len(result.unasked) - 1
        print(f"NOT AUDITED: {first}" + (f", and {more} more" if more else ""), file=sys.stderr)
    print(f"{len(result.asked)} packages audited, {len(result.vulnerable)} vulnerabilities known")
    return 1 if result.vulnerable or (result.unasked and options.unasked == "fail") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
