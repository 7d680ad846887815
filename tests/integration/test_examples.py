"""What the example of a pipeline does where nothing was generated, on moto."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import boto3
import pytest

from sd3.adapters.aws import Aws
from tests.support.programs import load_example

OWN: Final = "own-bucket"


@pytest.fixture
def program(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    for name, value in {"CLIENT": "acme", "INBOX_BUCKET": "inbox", "OWN_BUCKET": OWN}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    program = load_example("s3_pipeline")
    for name in ("inbox", OWN):
        program.s3.create_bucket(
            Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
        )
    return program


def read(program: ModuleType, key: str) -> Any:
    return json.load(program.s3.get_object(Bucket=OWN, Key=key)["Body"])


def test_a_pipeline_raises_the_error_of_a_file_that_nothing_is_made_of(
    program: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "typo.json").write_text('{"promt": "a fox"}')
    error = json.dumps({"code": "validation_error", "message": "See detail for promt."})
    program.s3.put_object(Bucket="images", Key="acme/inbox/typo.json", Body=error)
    with pytest.raises(ValueError, match=r"typo\.json: See detail for promt\."):
        program.drop(tmp_path / "typo.json")


def test_a_pipeline_notes_what_failed_and_passes_over_the_jobs_of_others(
    program: ModuleType,
) -> None:
    error = {"code": "content_policy", "message": "The upstream refuses."}
    for metadata in ({"row": "7"}, {}):
        job = {"metadata": metadata, "error": error, "images": [{"key": None}]}
        program.handler({"detail-type": "Image Job Ended", "detail": job}, None)
    listed = program.s3.list_objects_v2(Bucket=OWN)["Contents"]
    assert [each["Key"] for each in listed] == ["7/error.json"]
    assert read(program, "7/error.json") == error
