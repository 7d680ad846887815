"""make check's scan: a finding needs an exception with a reason, an exception needs a finding."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools import ROOT
from tools.scan import ExceptedFinding, Finding, compare, exceptions, write

OPEN_TABLE = Finding("CKV_AWS_119", "JobsTable", "Tables have a key of ours")
OPEN_BUCKET = Finding("CKV_AWS_21", "InboxBucket", "Buckets have versions")


@pytest.mark.parametrize(
    ("findings", "excepted", "lines"),
    [
        ([], [], []),
        ([OPEN_TABLE], [("CKV_AWS_119", "JobsTable")], []),
        ([OPEN_TABLE], [("CKV_AWS_119", "*Table")], []),
        ([OPEN_TABLE], [], ["JobsTable: CKV_AWS_119 Tables have a key of ours"]),
        (
            [OPEN_TABLE, OPEN_BUCKET],
            [("CKV_AWS_119", "*Table")],
            ["InboxBucket: CKV_AWS_21 Buckets have versions"],
        ),
        (
            [OPEN_TABLE],
            [("CKV_AWS_119", "*Table"), ("CKV_AWS_119", "UsageTable")],
            ["pyproject.toml: CKV_AWS_119 finds nothing at UsageTable any more"],
        ),
    ],
)
def test_findings_and_exceptions_are_one_to_another(
    findings: list[Finding], excepted: list[tuple[str, str]], lines: list[str]
) -> None:
    assert list(compare(findings, [ExceptedFinding(*each) for each in excepted])) == lines


def test_an_exception_needs_a_reason() -> None:
    entry: dict[str, Any] = {"checks": ["A", "B"], "resources": ["*"]}
    settings = {"tool": {"scan": {"exceptions": [entry]}}}
    with pytest.raises(KeyError, match="reason"):
        exceptions(settings)
    entry["reason"] = ""
    assert exceptions(settings) == []
    entry["reason"] = "It is so."
    assert exceptions(settings) == [ExceptedFinding("A", "*"), ExceptedFinding("B", "*")]


def test_roles_that_sam_makes_are_scanned_too(tmp_path: Path) -> None:
    write(ROOT / "template.yaml", tmp_path)
    resources = json.loads((tmp_path / "template.json").read_text())["Resources"]
    assert resources["WorkerFunctionRole"]["Properties"]["Policies"]
