"""What the example of a pipeline does where nothing was generated, on moto."""

import json
from pathlib import Path
from types import ModuleType
from typing import Final

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


def test_a_pipeline_raises_the_error_of_a_file_that_nothing_is_made_of(
    program: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "typo.jsonl").write_text('{"promt": "a fox"}')
    error = json.dumps({"code": "validation_error", "message": "See detail for promt."})
    program.s3.put_object(Bucket="images", Key="acme/inbox/typo.json", Body=error)
    with pytest.raises(ValueError, match=r"typo\.jsonl: See detail for promt\."):
        program.drop(tmp_path / "typo.jsonl")


def test_a_pipeline_notes_the_error_of_a_file_that_is_refused_as_a_whole(
    program: ModuleType,
) -> None:
    batch = {"id": "b1", "results": None, "error": {"code": "validation_error", "message": "Twice"}}
    program.handler({"detail-type": "Image Batch Ended", "detail": batch}, None)
    [kept] = program.s3.list_objects_v2(Bucket=OWN)["Contents"]
    assert kept["Key"] == "b1/batch.json"
    assert json.load(program.s3.get_object(Bucket=OWN, Key=kept["Key"])["Body"]) == batch
