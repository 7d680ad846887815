"""What must hold in template.yaml for uploads: who may put them, how long they stay, pages."""

from typing import Any

from sd3.upload_store import FOLDER, KEEP
from tests.unit.translated_template import functions, source

WRITERS = {"GenerateFunction", "WorkerFunction", "InboxFunction", "EndedFunction"}
"""Functions that keep pictures and answers, and sign no forms."""


def bucket() -> dict[str, Any]:
    properties: dict[str, Any] = source()["Resources"]["ImagesBucket"]["Properties"]
    return properties


def putting(function: str) -> list[dict[str, Any]]:
    """The statements of a function that let it put objects."""
    policies = functions()[function]["Properties"]["Policies"]
    return [
        statement
        for policy in policies
        for statement in policy.get("Statement", [])
        if "s3:PutObject" in statement["Action"]
    ]


def test_whoever_signs_forms_may_put_uploads_only() -> None:
    [statement] = putting("JobsFunction")
    assert statement["Action"] == "s3:PutObject"
    assert statement["Resource"] == {"Fn::Sub": f"${{ImagesBucket.Arn}}/{FOLDER}/*"}
    assert {name for name in functions() if putting(name)} == WRITERS | {"JobsFunction"}


def test_uploads_are_removed_when_they_have_expired() -> None:
    [rule] = [r for r in bucket()["LifecycleConfiguration"]["Rules"] if "Prefix" in r]
    assert (rule["Prefix"], rule["Status"]) == (f"{FOLDER}/", "Enabled")
    assert rule["ExpirationInDays"] == KEEP.days


def test_a_page_may_send_forms_and_fetch_pictures() -> None:
    [rule] = bucket()["CorsConfiguration"]["CorsRules"]
    assert set(rule["AllowedMethods"]) == {"GET", "POST"}
    assert rule["AllowedOrigins"] == {"Ref": "AllowedOrigins"}
