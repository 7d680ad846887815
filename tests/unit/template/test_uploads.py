"""What must hold in template.yaml for uploads: how long they stay, and who may send them."""

from typing import Any

from sd3.adapters.s3.uploads import FOLDER, KEEP
from tests.support.factories.template import source


def bucket() -> dict[str, Any]:
    properties: dict[str, Any] = source()["Resources"]["ImagesBucket"]["Properties"]
    return properties


def test_uploads_are_removed_when_they_have_expired() -> None:
    [rule] = [r for r in bucket()["LifecycleConfiguration"]["Rules"] if "Prefix" in r]
    assert (rule["Prefix"], rule["Status"]) == (f"{FOLDER}/", "Enabled")
    assert rule["ExpirationInDays"] == KEEP.days


def test_a_page_may_send_forms_and_fetch_images() -> None:
    [rule] = bucket()["CorsConfiguration"]["CorsRules"]
    assert set(rule["AllowedMethods"]) == {"GET", "POST"}
    assert rule["AllowedOrigins"] == {"Fn::Split": [",", {"Ref": "AllowedOrigins"}]}
