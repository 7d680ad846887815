"""python -m tools.scan TEMPLATE...: have checkov look for unsafe settings in the templates.

What it finds is an error, unless pyproject.toml excepts it and says why. An exception that fits
nothing any more is an error too. A template for SAM is translated first: only then does it have the
roles, permissions and stages that CloudFormation makes.
"""

import argparse
import json
import logging
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from tools import ROOT
from tools.translation import default_values, packaged, read_template, translate

CHECKOV: Final = ROOT / ".tools/scan/bin/checkov"
_OPTIONS: Final = (
    *("--framework", "cloudformation", "--skip-download", "--output", "json"),
    *("--soft-fail", "--directory"),
)


class Finding(NamedTuple):
    """A check of checkov that a resource fails."""

    check: str
    resource: str
    """The logical id."""
    text: str


class ExceptedFinding(NamedTuple):
    """A check that may fail for the resources of this name, which may have wildcards."""

    check: str
    resource: str

    def fits(self, finding: Finding) -> bool:
        """Return whether the finding is excepted by this."""
        return finding.check == self.check and fnmatchcase(finding.resource, self.resource)


def main(arguments: list[str]) -> int:
    """Print what is wrong with the templates, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.scan", description=__doc__)
    parser.add_argument("templates", nargs="+", type=Path)
    options = parser.parse_args(arguments)
    logging.disable(logging.WARNING)  # SAM's translator misses a file that only AWS has
    excepted = exceptions(tomllib.loads((ROOT / "pyproject.toml").read_text()))
    with TemporaryDirectory() as folder:
        for template in options.templates:
            write(template, Path(folder))
        problems = list(compare(scan(folder), excepted))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def write(template: Path, folder: Path) -> None:
    """Write a template into a folder as CloudFormation gets it."""
    content = read_template(template)
    if "Transform" in content:
        content = translate(packaged(content), default_values(content))
    for resource in content["Resources"].values():
        # No check reads the routes, and following their references takes half of the time.
        resource.get("Properties", {}).pop("Body", None)
    (folder / template.with_suffix(".json").name).write_text(json.dumps(content, indent=1))


def exceptions(pyproject: Mapping[str, Any]) -> list[ExceptedFinding]:
    """Read the exceptions of pyproject.toml; raises KeyError for one without a reason."""
    entries = pyproject["tool"]["scan"]["exceptions"]
    return [
        ExceptedFinding(check, resource)
        for entry in entries
        if entry["reason"]
        for check in entry["checks"]
        for resource in entry["resources"]
    ]


def scan(folder: str) -> list[Finding]:
    """Have checkov read the templates of a folder; raises ValueError when one cannot be read."""
    done = subprocess.run([CHECKOV, *_OPTIONS, folder], check=True, capture_output=True, text=True)
    report = json.loads(done.stdout)
    if report["summary"]["parsing_errors"]:
        msg = f"checkov cannot read {report['results']['parsing_errors']}"
        raise ValueError(msg)
    return [
        Finding(each["check_id"], each["resource"].rpartition(".")[2], each["check_name"])
        for each in report["results"]["failed_checks"]
    ]


def compare(findings: Iterable[Finding], excepted: Iterable[ExceptedFinding]) -> Iterator[str]:
    """Return a line for each finding that is not excepted, and for each exception without one."""
    findings, excepted = list(findings), list(excepted)
    for finding in findings:
        if not any(each.fits(finding) for each in excepted):
            yield f"{finding.resource}: {finding.check} {finding.text}"
    for each in excepted:
        if not any(map(each.fits, findings)):
            yield f"pyproject.toml: {each.check} finds nothing at {each.resource} any more"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
