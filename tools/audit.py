"""python -m tools.audit LOCK...: look up the known vulnerabilities of all that is locked.

pip-audit reports a package as free of vulnerabilities when its registry serves no advisories, as
mirrors do. This module reports such a package as not audited.
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
"""pip-audit sends one query for each package."""


@dataclass
class Audit:
    """The result of an audit."""

    audited: set[str] = field(default_factory=set)
    """Packages, with their versions."""
    not_audited: list[str] = field(default_factory=list)
    """Packages with the name of their lock, or the reason why a whole lock was not audited."""
    vulnerable: list[str] = field(default_factory=list)
    """Vulnerabilities, a line for each."""


def audit(locks: Sequence[Path]) -> Audit:
    """Look up the vulnerabilities of every package of these lock files."""
    result = Audit()
    with ThreadPoolExecutor(len(locks)) as pool:
        reports = pool.map(_look_up, locks)
        for lock, report in zip(locks, reports, strict=True):
            if isinstance(report, str):
                result.not_audited.append(f"{lock.name}: {report}")
                continue
            for package in report:
                _sort(package, lock, result)
    return result


def _look_up(lock: Path) -> list[dict[str, Any]] | str:
    """Return a report of each package in pip-audit's form, or the reason why there is none."""
    command: list[str | Path] = [PIP_AUDIT, *_OPTIONS, lock]
    if lock.name == NPM_LOCK:
        command = [NPM, "audit", "--json", "--package-lock-only", "--prefix", lock.parent]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
        report: dict[str, Any] = json.loads(run.stdout)
        if "message" in report:  # npm could not reach the registry
            return str(report["message"])
        packages: list[dict[str, Any]] = (
            _packages_of_npm(report, lock) if lock.name == NPM_LOCK else report["dependencies"]
        )
    except subprocess.TimeoutExpired:
        return f"no response in {_SECONDS} s"
    except (ValueError, KeyError):
        return (run.stderr.strip().splitlines() or ["no response"])[-1]
    return packages


def _packages_of_npm(report: dict[str, Any], lock: Path) -> list[dict[str, Any]]:
    """Return every package of npm's lock, with npm's report of it."""
    packages = []
    for path, locked in json.loads(lock.read_text())["packages"].items():
        name = path.rpartition("node_modules/")[2]
        found = report["vulnerabilities"].get(name, {"via": (), "fixAvailable": False})
        fixed = ["a newer version"] if found["fixAvailable"] else []
        vulns = [
            {"id": via["url"].rpartition("/")[2], "fix_versions": fixed}
            for via in found["via"]
            if isinstance(via, dict)  # a string names a dependency, which has its own entry
        ]
        if name:  # the project itself has no name
            packages.append({"name": name, "version": locked["version"], "vulns": vulns})
    return packages


def _sort(package: dict[str, Any], lock: Path, result: Audit) -> None:
    if "skip_reason" in package:
        result.not_audited.append(f"{lock.name}: {package['name']}")
        return
    name = f"{package['name']} {package['version']}"
    result.audited.add(name)
    for found in package["vulns"]:
        fixed = ", ".join(found["fix_versions"]) or "nothing yet"
        result.vulnerable.append(f"{lock.name}: {name}: {found['id']}, fixed by {fixed}")


def main(arguments: list[str]) -> int:
    """Print the result; return 1 for a vulnerability or for a package that was not audited."""
    parser = argparse.ArgumentParser(prog="make audit", description=__doc__)
    parser.add_argument("locks", metavar="LOCK", type=Path, nargs="+")
    parser.add_argument("--unasked", choices=("fail", "warn"), default="fail")
    options = parser.parse_args(arguments)
    result = audit(options.locks)
    for line in result.vulnerable:
        print(f"vulnerable: {line}", file=sys.stderr)
    if result.not_audited:
        first, more = result.not_audited[0], len(result.not_audited) - 1
        print(f"NOT AUDITED: {first}" + (f", and {more} more" if more else ""), file=sys.stderr)
    print(f"{len(result.audited)} packages audited, {len(result.vulnerable)} vulnerabilities known")
    return 1 if result.vulnerable or (result.not_audited and options.unasked == "fail") else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
