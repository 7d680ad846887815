"""The inbox as clients use it: upload files to the bucket, read the results."""

import base64
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, Final
from urllib.parse import quote_plus

import pytest
from PIL import Image

from local.stack import Stack
from tests.support.factories.images import jpeg, png
from tests.support.polling import wait_for

_clients = count(1)


class Folder:
    """A client's folder of the inbox, and the folder of its results."""

    def __init__(self, stack: Stack, client_id: str) -> None:
        outputs = stack.deployed.outputs()
        self.client_id = client_id
        self.s3 = stack.deployed.client("s3")
        self.inbox, self.images = outputs["InboxBucket"], outputs["ImagesBucket"]

    def drop(
        self, name: str, data: bytes | dict[str, Any], *, storage: str = "STANDARD", **metadata: str
    ) -> None:
        self.s3.put_object(
            Bucket=self.inbox,
            Key=f"{self.client_id}/{name}",
            Body=data if isinstance(data, bytes) else json.dumps(data).encode(),
            Metadata=metadata,
            StorageClass=storage,
        )

    def result(self, name: str) -> Any:
        return self.read(f"{self.client_id}/inbox/{name}.json")

    def listed(self, prefix: str) -> list[str]:
        """Return the keys of the images bucket right under a prefix."""
        found = self.s3.list_objects_v2(Bucket=self.images, Prefix=prefix, Delimiter="/")
        return [each["Key"] for each in found.get("Contents", [])]

    def read(self, key: str) -> Any:
        try:
            reply = self.s3.get_object(Bucket=self.images, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return None
        return json.loads(reply["Body"].read())

    def ended(self, name: str, *, but: str = "") -> Any:
        """Wait for the final result: an error or the end of a job other than `but`."""

        def look() -> Any:
            result = self.result(name)
            open_still = result and result.get("status") in {"queued", "running"}
            return None if open_still or (result and result.get("id") == but) else result

        return wait_for(look, what=f"answer to {name}")

    def image(self, image: dict[str, Any]) -> Image.Image:
        """Fetch an image by its entry in the result, and check the entry."""
        assert image["url"] == f"s3://{image['bucket']}/{image['key']}"
        data = self.s3.get_object(Bucket=image["bucket"], Key=image["key"])["Body"].read()
        assert hashlib.sha256(data).hexdigest() == image["sha256"]
        decoded = Image.open(io.BytesIO(data))
        assert decoded.size == (image["width"], image["height"])
        return decoded


@pytest.fixture
def folder(stack: Stack) -> Folder:
    """Provide the folder of a new client."""
    client_id = f"inbox-{next(_clients)}"
    stack.deployed.issue_token(client_id)
    return Folder(stack, client_id)


NAMES: Final = ["fox", "a fox + hens", "für Oma 狐", "2026/11/fox", "100%25"]


@pytest.mark.parametrize("name", NAMES)
def test_an_inbox_request_is_generated(folder: Folder, name: str) -> None:
    folder.drop(f"{name}.json", {"prompt": "a fox", "seed": 7, "metadata": {"order": name}})
    result = folder.ended(name)
    assert (result["status"], result["client_id"]) == ("succeeded", folder.client_id)
    assert result["metadata"] == {"order": name}
    [image] = result["images"]
    assert image["seed"] == 7
    assert folder.image(image).format == "JPEG"


def test_an_inbox_image_of_10_mb_is_used_as_init_image(folder: Folder) -> None:
    data = png(1900, 1800)
    assert len(data) > 10_000_000
    folder.drop("cat.png", data, prompt="a cat", num_images="2", width="1344", height="768")
    images = folder.ended("cat")["images"]
    assert [folder.image(image).size for image in images] == [(1344, 768)] * 2


def test_an_image_that_a_tool_has_copied_is_used(folder: Folder) -> None:
    tools = {"mtime": "1764150000.123456789", "s3cmd-attrs": "atime:1/uid:0", "file-owner": "500"}
    folder.drop("cat.png", jpeg(), prompt="a cat", **tools)
    folder.drop("typo.png", jpeg(), prompt="a cat", stepz="30", **tools)
    result = folder.ended("cat")
    assert (result["status"], result["ignored"]) == ("succeeded", sorted(tools))
    assert [error["loc"] for error in folder.ended("typo")["detail"]] == [["body", "stepz"]]


def test_an_images_format_follows_from_its_bytes_and_not_its_name(folder: Folder) -> None:
    folder.drop("cat.png", jpeg(), prompt="a cat")
    assert folder.ended("cat")["status"] == "succeeded"


def test_metadata_beyond_ascii_is_read(folder: Folder) -> None:
    encoded = base64.b64encode("狐 sketch-unsafe".encode()).decode()
    folder.drop("cat.png", jpeg(), prompt=f"=?UTF-8?B?{encoded}?=")
    [image] = folder.ended("cat")["images"]
    assert image["removed_for_safety"] is True  # so its prompt was read


def test_a_request_of_2_mb_with_an_init_image_is_generated_over(folder: Folder) -> None:
    init_image = base64.b64encode(png(840, 600)).decode()
    assert len(init_image) > 2_000_000
    folder.drop("big.json", {"prompt": "a fox", "init_image": init_image})
    assert folder.ended("big")["status"] == "succeeded"


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("bad.json", b"not json", "invalid_json"),
        ("bad.json", jpeg(), "invalid_json"),
        ("bad.json", b'{"prompt": "x", "nonsense": 1}', "validation_error"),
        ("bad.json", b'{"prompt": "' + b"x" * 7_000_000 + b'"}', "too_large"),
        ("bad.png", b'{"prompt": "x"}', "validation_error"),
        ("bad.gif", b"GIF89a", "unsupported_media_type"),
    ],
)
def test_an_invalid_file_gets_its_error_as_result(
    folder: Folder, name: str, data: bytes, code: str
) -> None:
    folder.drop(name, data, **({"prompt": "x"} if name == "bad.png" else {}))
    result = folder.ended("bad")
    assert result["code"] == code
    assert result["message"]
    assert result["request_id"]


def test_a_folder_of_no_client_gets_an_error(stack: Stack) -> None:
    folder = Folder(stack, "nobody")
    folder.drop("fox.json", {"prompt": "x"})
    assert folder.ended("fox")["code"] == "not_found"


def test_an_archived_file_gets_its_error_unless_its_archive_is_read_at_once(
    folder: Folder, aside: "SetAside"
) -> None:
    before = aside.count()
    folder.drop("cold.json", {"prompt": "a fox"}, storage="DEEP_ARCHIVE")
    folder.drop("cool.json", {"prompt": "a fox"}, storage="GLACIER_IR")
    assert [error["type"] for error in folder.ended("cold")["detail"]] == ["unreadable"]
    assert folder.ended("cool")["status"] == "succeeded"
    assert aside.count() == before


class SetAside:
    """UnprocessableQueue, and the function whose events arrive there."""

    def __init__(self, stack: Stack) -> None:
        self.sqs, self.functions = stack.deployed.client("sqs"), stack.deployed.client("lambda")
        self.url = stack.deployed.resource("UnprocessableQueue")
        self.function = stack.deployed.resource("InboxFunction")

    def count(self) -> int:
        names = ["ApproximateNumberOfMessages"]
        found = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return int(found["Attributes"][names[0]])

    def take(self) -> str | None:
        """Take a message, if there is one, and return its body."""
        for message in self.sqs.receive_message(QueueUrl=self.url).get("Messages", []):
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=message["ReceiptHandle"])
            return str(message["Body"])
        return None

    def invoke(self, payload: str) -> str:
        """Invoke the function; return the message of its error, or nothing."""
        reply = self.functions.invoke(FunctionName=self.function, Payload=payload.encode())
        failed = "FunctionError" in reply
        return str(json.load(reply["Payload"])["errorMessage"]) if failed else ""


@pytest.fixture
def aside(stack: Stack) -> SetAside:
    return SetAside(stack)


def test_a_wrong_name_gets_its_error_where_the_docs_say_and_nobody_is_woken(
    stack: Stack, aside: SetAside
) -> None:
    stack.deployed.issue_token("odd")
    folder, before = Folder(stack, "odd"), aside.count()
    answers = {
        "fox.json": "_/inbox/fox.json",
        "/odd/root.json": "_/inbox/odd/root.json",
        "//slashes.json": "_/inbox/slashes.json",
        "ODD/fox.json": "_/inbox/ODD/fox.json",
        "odd/a// &?#%2e.gif": "odd/inbox/a/ &?#%2e.json",
    }
    named_by_job = [f"odd/{'狐' * 339}.xy", "odd/a/../b.gif", "odd/a\nb.gif"]
    folders = ["odd/", "odd/2026/11/", "ODD/"]
    for key in (*answers, *named_by_job, *folders):
        put = folder.s3.put_object(Bucket=folder.inbox, Key=key, Body=b"a wrong upload")
        assert not aside.invoke(json.dumps(reported(folder.inbox, key, put["ETag"]))), key
    listed = folder.listed("odd/inbox/")
    assert len(listed) >= len(named_by_job)
    for key in (*answers.values(), *listed):
        assert folder.read(key)["code"] in {"not_found", "unsupported_media_type"}
    assert aside.count() == before


def reported(bucket: str, key: str, etag: str) -> dict[str, Any]:
    """Make S3's report of a file."""
    file = {"key": quote_plus(key), "eTag": etag.strip('"'), "sequencer": "00"}
    s3 = {"bucket": {"name": bucket}, "object": file}
    return {"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put", "s3": s3}]}


@contextmanager
def unwritable(folder: Folder) -> Iterator[None]:
    """Have S3 deny the folder's results."""
    was = folder.s3.get_bucket_policy(Bucket=folder.images)["Policy"]
    results = f"arn:aws:s3:::{folder.images}/{folder.client_id}/inbox/*"
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": results}
    policy = json.loads(was)
    policy["Statement"].append(denied)
    folder.s3.put_bucket_policy(Bucket=folder.images, Policy=json.dumps(policy))
    try:
        yield
    finally:
        folder.s3.put_bucket_policy(Bucket=folder.images, Policy=was)


def test_an_event_that_failed_is_invoked_again_just_as_it_was_set_aside(
    folder: Folder, aside: SetAside
) -> None:
    with unwritable(folder):
        folder.drop("fox.json", {"prompt": "a fox"})
        body = wait_for(aside.take, what="event that failed")
    assert "requestPayload" in body
    assert not folder.result("fox")
    assert not aside.invoke(body)
    assert folder.ended("fox")["status"] == "succeeded"


def test_a_failed_job_gets_its_error_as_result(folder: Folder) -> None:
    folder.drop("fox.json", {"prompt": "a sketch-forbidden fox"})
    result = folder.ended("fox")
    assert (result["status"], result["error"]["code"]) == ("failed", "content_policy")


def test_a_file_uploaded_again_is_a_new_job_and_has_the_result(folder: Folder) -> None:
    folder.drop("fox.json", {"prompt": "a fox", "metadata": {"turn": "first"}})
    first = folder.ended("fox")
    folder.drop("fox.json", {"prompt": "a fox", "metadata": {"turn": "second"}})
    second = folder.ended("fox", but=first["id"])
    assert second["metadata"] == {"turn": "second"}


def test_of_two_simultaneous_uploads_of_a_file_the_later_has_the_result(folder: Folder) -> None:
    for turn in range(3):
        folder.drop("fox.json", {"prompt": "a fox", "metadata": {"turn": str(turn)}})

    def look() -> Any:
        result = folder.result("fox")
        return result if result and result["metadata"] == {"turn": "2"} else None

    wait_for(look, what="answer to the last")
    assert folder.ended("fox")["metadata"] == {"turn": "2"}


def test_its_client_finds_the_job(
    stack: Stack, folder: Folder, http: Any, new_token: Callable[[], str]
) -> None:
    folder.drop("fox.json", {"prompt": "a fox"})
    result = folder.ended("fox")
    token = stack.deployed.issue_token(folder.client_id)
    url = f"{stack.api_url}/jobs/{result['id']}"
    job = http.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).json()
    assert job["images"][0]["sha256"] == result["images"][0]["sha256"]
    assert job["images"][0]["url"].startswith("http")
    assert http.get(url, headers={"Authorization": f"Bearer {new_token()}"}).status_code == 404
