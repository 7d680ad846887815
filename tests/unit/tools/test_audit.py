"""What was not audited does not look like what has no vulnerabilities."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools import audit
from tools.audit import main

SAFE = {"name": "six", "version": "1.17.0", "vulns": []}
UNKNOWN = {"name": "uv", "skip_reason": "Dependency not found on PyPI and could not be audited"}
VULNERABLE = {
    "name": "requests",
    "version": "2.30.0",
    "vulns": [{"id": "PYSEC-2023-74", "fix_versions": ["2.31.0"], "description": "..."}],
}


@pytest.fixture
def reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace pip-audit by a program that prints the reports of a folder, by name of the lock."""
    program = tmp_path / "pip-audit"
    program.write_text('#!/bin/sh\nfor lock; do :; done\ncat "$lock" || echo "no way" >&2\n')
    program.chmod(0o700)
    monkeypatch.setattr(audit, "PIP_AUDIT", program)
    return tmp_path


def run(reports: Path, *packages: dict[str, Any], options: tuple[str, ...] = ()) -> int:
    lock = reports / "dev.txt"
    lock.write_text(json.dumps({"dependencies": packages, "fixes": []}))
    return main([*options, str(lock)])


def test_packages_without_vulnerabilities_pass(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(reports, SAFE) == 0
    assert capsys.readouterr() == ("1 packages audited, 0 vulnerabilities known\n", "")


def test_a_vulnerability_fails_and_is_named(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(reports, SAFE, VULNERABLE, options=("--unasked", "warn")) == 1
    expected = "vulnerable: dev.txt: requests 2.30.0: PYSEC-2023-74, fixed by 2.31.0\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(("options", "status"), [((), 1), (("--unasked", "warn"), 0)])
def test_a_package_without_advisories_is_not_audited(
    reports: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], status: int
) -> None:
    assert run(reports, SAFE, UNKNOWN, options=options) == status
    out, err = capsys.readouterr()
    assert err == "NOT AUDITED: dev.txt: uv\n"
    assert out == "1 packages audited, 0 vulnerabilities known\n"


def test_a_lock_without_a_report_is_not_audited(
    reports: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(reports / "sam.txt"), str(reports / "dev.txt")]) == 1
    assert capsys.readouterr().err == "NOT AUDITED: sam.txt: no way, and 1 more\n"


NPM_LOCK = {
    "packages": {
        "": {"name": "sd3-image-service"},
        "node_modules/@scarf/scarf": {"version": "1.4.0"},
        "node_modules/swagger-ui-dist": {"version": "5.35.0"},
    }
}
NPM_ADVISORY = {"source": 1, "url": "https://example.com/advisories/GHSA-1"}


@pytest.mark.parametrize(
    ("report", "status", "expected"),
    [
        ({"vulnerabilities": {}}, 0, ""),
        (
            {
                "vulnerabilities": {
                    "@scarf/scarf": {"via": [NPM_ADVISORY], "fixAvailable": True},
                    "swagger-ui-dist": {"via": ["@scarf/scarf"], "fixAvailable": True},
                }
            },
            1,
            "vulnerable: package-lock.json: @scarf/scarf 1.4.0: GHSA-1, fixed by a newer version\n",
        ),
        (
            {"message": "405 Method Not Allowed"},
            1,
            "NOT AUDITED: package-lock.json: 405 Method Not Allowed\n",
        ),
    ],
)
def test_npms_packages_are_audited_too(
    reports: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    report: dict[str, Any],
    status: int,
    expected: str,
) -> None:
    program, lock = reports / "npm", reports / "package-lock.json"
    program.write_text(f"#!/bin/sh\necho '{json.dumps(report)}'\nexit 1\n")
    program.chmod(0o700)
    monkeypatch.setattr(audit, "NPM", program)
    lock.write_text(json.dumps(NPM_LOCK))
    assert main([str(lock)]) == status
    assert capsys.readouterr().err == expected
