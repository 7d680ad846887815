"""What must hold in template.yaml for uploads and renditions: how long they stay."""

from datetime import timedelta
from typing import Any

import pytest

from sd3.adapters.s3 import renditions
from sd3.adapters.s3.images import RENDITIONS
from sd3.adapters.s3.uploads import FOLDER, KEEP
from tests.support.factories.template import source


def bucket() -> dict[str, Any]:
    properties: dict[str, Any] = source()["Resources"]["ImagesBucket"]["Properties"]
    return properties


@pytest.mark.parametrize(("folder", "kept"), [(FOLDER, KEEP), (RENDITIONS, renditions.KEEP)])
def test_what_has_expired_is_removed(folder: str, kept: timedelta) -> None:
    rules = bucket()["LifecycleConfiguration"]["Rules"]
    [rule] = [rule for rule in rules if rule.get("Prefix") == f"{folder}/"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", kept.days)


def test_a_page_may_send_forms_and_fetch_images() -> None:
    [rule] = bucket()["CorsConfiguration"]["CorsRules"]
    assert set(rule["AllowedMethods"]) == {"GET", "POST"}
    assert rule["AllowedOrigins"] == {"Fn::Split": [",", {"Ref": "AllowedOrigins"}]}
