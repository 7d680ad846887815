"""make export on moto: all that there is of a client, and nothing of another one."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from ops import export as command
from ops.export import file_name
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.token_admin import TokenStore
from sd3.adapters.s3.client_files import ClientFiles, Folder
from sd3.errors import StorageError
from tests.integration.conftest import Functions, MotoStack, stack_with_data
from tests.support.factories.client_data import UPLOAD, about, id_of

SUCCEEDED, QUEUED = id_of("acme", "succeeded"), id_of("acme", "queued")
OTHERS = ("acme-2", "acm", "other")


@pytest.fixture
def stack(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> MotoStack:
    """Provide the stack as the commands find it. It has data of acme and of others."""
    return stack_with_data(aws, monkeypatch, command=command, clients=["acme", *OTHERS])


@pytest.fixture
def archive(
    stack: MotoStack, functions: Functions, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ZipFile:
    """Export acme, which has neighbours, with pages of two jobs."""
    functions.changes()
    monkeypatch.setattr(command, "_PAGE", 2)
    assert command.main(["acme", "--out", str(tmp_path)]) == 0
    [path] = tmp_path.iterdir()
    assert re.fullmatch(r"acme-\d{8}T\d{6}Z\.zip", path.name)
    assert path.stat().st_mode & 0o077 == 0
    return ZipFile(path)


def test_every_job_is_there_once_as_its_client_sees_it_with_its_request(archive: ZipFile) -> None:
    jobs = {job["id"]: job for job in map(json.loads, archive.read("jobs.jsonl").splitlines())}
    names = {"queued", "running", "succeeded", "failed", "canceled", "with-key"}
    assert set(jobs) == {id_of("acme", name) for name in names}
    assert {job["request"]["prompt"] for job in jobs.values()} == {"acme in a prompt"}
    assert jobs[SUCCEEDED]["images"][0]["url"] == f"images/{SUCCEEDED}/0.jpg"
    assert jobs[QUEUED]["init_image"] == f"images/{QUEUED}/init.png"


def test_a_request_of_a_later_version_is_there_as_it_is(
    stack: MotoStack, aws: Aws, functions: Functions, tmp_path: Path
) -> None:
    key = {"id": {"S": SUCCEEDED}}
    item = dict(aws.dynamodb.get_item(TableName="jobs", Key=key)["Item"])
    document = json.loads(item["document"]["S"])
    document["request"]["negative_prompt"] = ["frogs", "crowds"]
    aws.dynamodb.put_item(TableName="jobs", Item=item | {"document": {"S": json.dumps(document)}})
    assert command.main(["acme", "--out", str(tmp_path)]) == 0
    [path] = tmp_path.iterdir()
    assert '["frogs", "crowds"]' in ZipFile(path).read("jobs.jsonl").decode()


def test_the_webhook_and_its_deliveries_are_there_without_the_secret(archive: ZipFile) -> None:
    [batch] = map(json.loads, archive.read("batches.jsonl").splitlines())
    assert batch["metadata"] == {"about": "acme in its metadata"}
    [webhook] = map(json.loads, archive.read("webhook.jsonl").splitlines())
    assert webhook["url"] == "https://hooks.example/acme"
    found = [json.loads(line) for line in archive.read("deliveries.jsonl").splitlines()]
    assert {each["job_id"] for each in found} == {SUCCEEDED, id_of("acme", "failed")}
    assert "whsec_" not in str(webhook)


def test_every_file_is_there_with_its_bytes_and_metadata(archive: ZipFile) -> None:
    for name, key in {
        f"images/{SUCCEEDED}/0.jpg": f"acme/{SUCCEEDED}/0.jpg",
        f"images/{QUEUED}/init.png": f"acme/{QUEUED}/init.png",
        "images/inbox/a file.json": "acme/inbox/a file.json",
        f"uploads/{UPLOAD}": f"_uploads/acme/{UPLOAD}",
        "inbox/a file.png": "acme/a file.png",
    }.items():
        assert archive.read(name) == f"acme {key}".encode()
    metadata = json.loads(archive.read("metadata/inbox/a file.png.json"))
    assert metadata == {"prompt": "acme in its metadata"}


def rows(archive: ZipFile, name: str) -> list[dict[str, str]]:
    return [*csv.DictReader(io.StringIO(archive.read(name).decode()))]


def test_usage_is_there_by_day_and_tokens_by_id_without_their_hashes(
    archive: ZipFile, aws: Aws
) -> None:
    [usage] = rows(archive, "usage.csv")
    assert (usage["pictures"], usage["reserved_usd"]) == ("1", "0.06")
    [token] = TokenStore(aws.dynamodb, "clients").of("acme")
    [row] = rows(archive, "tokens.csv")
    assert (row["id"], row["name"]) == (token.sha256[:8], "acme")
    assert token.sha256 not in str(row)


def test_nothing_of_another_client_is_there(archive: ZipFile) -> None:
    found = {name: archive.read(name).decode() for name in archive.namelist()}
    assert about("acme", found)
    assert not any(about(other, found) for other in OTHERS)


@pytest.mark.parametrize("step", ["files", "open"])
def test_what_cannot_be_read_leaves_no_file_that_looks_complete(
    stack: MotoStack,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    step: str,
) -> None:
    def fail(*_: Any) -> Any:
        raise StorageError("out of order")

    monkeypatch.setattr(ClientFiles, step, fail)
    assert command.main(["acme", "--out", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    if step == "files":
        assert not [*tmp_path.iterdir()]
    else:  # S3 does not give out some objects; the others are exported
        assert "inbox/acme/a file.png" in told


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a b/ü.png", "in/a b/%C3%BC.png"),
        ("../x", "in/%2E%2E/x"),
        ("./x", "in/%2E/x"),
        ("/etc/x", "in/%2F/etc/x"),
        ("x/", "in/x/%2F"),
        ("..\\x", "in/..%5Cx"),
        ("%2E%2E/x", "in/%252E%252E/x"),
        ("C:/x\n", "in/C%3A/x%0A"),
    ],
)
def test_no_key_leads_out_of_the_folder_that_it_is_unpacked_to(key: str, name: str) -> None:
    assert file_name(Folder("in", "inbox", "acme/"), f"acme/{key}") == name
