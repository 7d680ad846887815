"""`make export` and `make erase` for the deployed stack: one client leaves, and another stays."""

import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import requests

from local.stack import Stack
from tests.support.factories.client_data import about, add_data, dump
from tests.support.operator import Api, Operator
from tests.support.polling import wait_for

LEAVER, STAYER = "leaver", "stayer"


@pytest.fixture
def tokens(stack: Stack, operator: Operator, api: Api) -> dict[str, str]:
    """Provide tokens of both clients, of whom the stack has data of every kind."""
    tokens = {client: operator.token(client) for client in (LEAVER, STAYER)}
    for client, token in tokens.items():
        add_data(stack.deployed, client)
        assert api.generate(token).ok
        drop(stack, client)
        # The image that was added is in the inbox too: a result replaces the file that was added.
        wait_for(lambda: refused(stack, client), what="result of the image")  # noqa: B023 - at once
    for token in tokens.values():
        # Then the stream has brought all that there is: 5 jobs that are paid, and 2 of these.
        wait_for(lambda: used(api, token) == (0.21, 0.06), what="usage")  # noqa: B023 - at once
    return tokens


def drop(stack: Stack, client: str) -> None:
    """Put a request into the inbox, and wait for its result."""
    outputs, s3 = stack.deployed.outputs(), stack.deployed.client("s3")
    body = json.dumps({"prompt": f"a dog of {client}"})
    s3.put_object(Bucket=outputs["InboxBucket"], Key=f"{client}/dog.json", Body=body.encode())

    def has_ended() -> bool:
        found = s3.list_objects_v2(Bucket=outputs["ImagesBucket"], Prefix=f"{client}/inbox/dog")
        if not found["KeyCount"]:
            return False
        key = found["Contents"][0]["Key"]
        reply = s3.get_object(Bucket=outputs["ImagesBucket"], Key=key)
        return bool(json.load(reply["Body"])["status"] == "succeeded")

    wait_for(has_ended, what="result")


def refused(stack: Stack, client: str) -> bool:
    """Return whether the inbox has answered the file that is no image."""
    bucket = stack.deployed.outputs()["ImagesBucket"]
    reply = stack.deployed.client("s3").get_object(Bucket=bucket, Key=f"{client}/inbox/a file.json")
    return b"validation_error" in reply["Body"].read()


def used(api: Api, token: str) -> tuple[float, float]:
    today = api.get(token, "/usage").json()["today"]
    return today["cost_usd"], today["reserved_usd"]


def test_a_client_that_leaves_gets_all_of_its_data_and_leaves_nothing(
    stack: Stack,
    api: Api,
    operator: Operator,
    tokens: dict[str, str],
    http: requests.Session,
    tmp_path: Path,
) -> None:
    page = api.get(tokens[LEAVER], "/jobs?limit=100").json()
    listed: dict[str, Any] = {job["id"]: job for job in page["jobs"]}
    operator.make("export", CLIENT=LEAVER, OUT=str(tmp_path))
    [path] = tmp_path.glob("*.zip")
    with ZipFile(path) as archive:
        exported = {
            job["id"]: job for job in map(json.loads, archive.read("jobs.jsonl").splitlines())
        }
        assert exported.keys() == listed.keys()
        for job_id, job in listed.items():
            for image, copy in zip(job["images"], exported[job_id]["images"], strict=True):
                assert archive.read(copy["url"]) == http.get(image["url"]).content
        contents = {
            name: archive.read(name).decode(errors="replace") for name in archive.namelist()
        }
    assert not about(STAYER, contents)

    before = dump(stack.deployed)
    assert operator.make("erase", CLIENT=LEAVER)[-1].startswith("Nothing was erased")
    assert about(LEAVER, dump(stack.deployed)) == about(LEAVER, before)
    operator.make("erase", CLIENT=LEAVER, SURE=LEAVER, OUT=str(tmp_path))
    after = dump(stack.deployed)
    assert not about(LEAVER, after)
    assert about(STAYER, after) == about(STAYER, before)
    assert {api.get(tokens[LEAVER], f"/jobs/{job_id}").status_code for job_id in listed} == {404}
    told = operator.make("erase", CLIENT=LEAVER, SURE=LEAVER, OUT=str(tmp_path))
    assert told[-1] == f"There is nothing left of {LEAVER}."
