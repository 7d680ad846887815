"""Uploads as clients use them: get a form, send an image, and generate from it."""

import base64
import hashlib
import io
import json
from datetime import UTC, datetime
from itertools import count
from typing import Any, Final

import boto3
import pytest
import requests
from botocore.exceptions import ClientError
from PIL import Image

from local.stack import Stack
from sd3.adapters.s3.uploads import UploadStore
from sd3.domain.colour_profile import rgb_profile
from tests.support.factories.heif_files import IN_SRGB, P3, heic
from tests.support.factories.images import black_png, flat, jpeg, png, saved
from tests.support.polling import wait_for

NOT_FOUND: Final = "not found or expired"
GENERATEN: Final = {"prompt": "a fox", "seed": 7, "steps": 2}

_clients = count(1)


def pixels_of(data: bytes) -> str:
    """Return the SHA-256 of an image's pixels."""
    return hashlib.sha256(Image.open(io.BytesIO(data)).tobytes()).hexdigest()


class Uploader:
    """A client that sends images and has them generated over."""

    def __init__(self, stack: Stack, http: requests.Session) -> None:
        self.stack, self.http = stack, http
        self.client_id = f"uploads-{next(_clients)}"
        self.take_token()

    def take_token(self) -> None:
        """Go on with a new token of the same client."""
        token = self.stack.deployed.issue_token(self.client_id)
        self.http.headers["Authorization"] = f"Bearer {token}"

    def form(self, content_type: str = "image/png") -> dict[str, Any]:
        response = self.http.post(
            f"{self.stack.api_url}/uploads", json={"content_type": content_type}, timeout=30
        )
        assert response.status_code == 201, response.text
        form: dict[str, Any] = response.json()
        return form

    def send(self, data: bytes, form: dict[str, Any] | None = None) -> str:
        """Send an image as a browser's form would; the upload's id."""
        form = form or self.form()
        response = post(form, data)
        assert response.status_code == 204, response.text
        return str(form["id"])

    def generate(self, upload_id: str | None = None, **fields: Any) -> requests.Response:
        named = {"init_image_id": upload_id} if upload_id else {}
        headers = {"Prefer": fields.pop("prefer")} if "prefer" in fields else {}
        return self.http.post(
            f"{self.stack.api_url}/generate/sd3",
            json=GENERATEN | named | fields,
            headers=headers,
            timeout=60,
        )

    def generated(self, upload_id: str | None = None, **fields: Any) -> str:
        """Return the SHA-256 of the pixels that were generated; the file names its job too."""
        response = self.generate(upload_id, **fields)
        assert response.status_code == 200, response.text
        return pixels_of(requests.get(response.json()["images"][0]["url"], timeout=10).content)

    def rejected(self, upload_id: str) -> str:
        """Return the response's error of the upload, for which no job was created."""
        response = self.generate(upload_id)
        assert (response.status_code, response.json()["code"]) == (422, "validation_error")
        assert "job_id" not in response.json()
        (field_error,) = response.json()["detail"]
        assert field_error["loc"] == ["body", "init_image_id"]
        return str(field_error["msg"])


@pytest.fixture
def uploader(stack: Stack, http: requests.Session) -> Uploader:
    return Uploader(stack, http)


@pytest.fixture
def signer(stack: Stack) -> Any:
    """S3 with what the function that signs the forms may do."""
    account = stack.deployed.client("sts").get_caller_identity()["Account"]
    role = stack.deployed.resource("JobsFunctionRole")
    session = stack.deployed.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{account}:role/{role}", RoleSessionName="test"
    )["Credentials"]
    return boto3.client(
        "s3",
        endpoint_url=stack.aws["AWS_ENDPOINT_URL"],
        region_name=stack.aws["AWS_DEFAULT_REGION"],
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )


def post(form: dict[str, Any], data: bytes, **fields: str) -> requests.Response:
    """Send a form, with some of its fields changed or added, without any token."""
    with requests.Session() as session:
        session.trust_env = False
        return session.post(
            form["url"], data=form["fields"] | fields, files={"file": data}, timeout=60
        )


def code_of(response: requests.Response) -> tuple[int, str]:
    """Return status and code of S3's own response."""
    return response.status_code, response.text.partition("<Code>")[2].partition("</Code>")[0]


def photograph() -> bytes:
    """Make an image too large for a request: noise, which does not compress."""
    data = png(1400, 1300)
    assert 5_000_000 < len(data) < 6_000_000
    return data


def test_an_image_of_more_than_5_mb_is_generated_over(uploader: Uploader) -> None:
    upload_id = uploader.send(photograph())
    near = uploader.generated(upload_id, strength=0.2)
    far = uploader.generated(upload_id, strength=0.9)
    assert len({near, far, uploader.generated()}) == 3
    assert uploader.generated(upload_id, strength=0.2) == near


def test_a_photo_of_a_phone_is_generated_over_in_the_colours_that_the_phone_shows(
    uploader: Uploader,
) -> None:
    """A HEIC of tiles in Display P3, of which `cover` leaves the green in the middle."""
    photo = heic(tiles=(2, 1), size=(192, 64), profile=rgb_profile(P3), turns=3, orientation=6)
    images = []
    for data, kind in (
        (photo, "heic"),
        (saved(Image.new("RGB", (64, 64), IN_SRGB[1]), kind="png"), "png"),
    ):
        upload_id = uploader.send(data, uploader.form(f"image/{kind}"))
        job = uploader.generate(upload_id, strength=0.01, seed=7).json()
        content = requests.get(job["images"][0]["url"], timeout=30).content
        images.append(Image.open(io.BytesIO(content)).convert("RGB").resize((1, 1)))
    one, other = (image.getpixel((0, 0)) for image in images)
    assert one == pytest.approx(other, abs=3)


def test_an_upload_is_as_good_as_the_image_in_the_request(uploader: Uploader) -> None:
    for content_type, data in [("image/png", png(300, 200)), ("image/jpeg", jpeg(300, 200))]:
        upload_id = uploader.send(data, uploader.form(content_type))
        inline = base64.b64encode(data).decode()
        assert uploader.generated(upload_id, strength=0.3) == uploader.generated(
            init_image=inline, strength=0.3
        )


def test_a_queued_job_is_generated_over_its_upload_too(uploader: Uploader) -> None:
    upload_id = uploader.send(photograph())
    response = uploader.generate(upload_id, strength=0.2, prefer="respond-async")
    assert response.status_code == 202, response.text
    address = f"{uploader.stack.api_url}/jobs/{response.json()['id']}"

    def look() -> Any:
        job = uploader.http.get(address, headers={"Prefer": "wait=20"}, timeout=40).json()
        return job if job["status"] not in {"queued", "running"} else None

    job = wait_for(look, what="end of the job")
    assert job["status"] == "succeeded"
    data = requests.get(job["images"][0]["url"], timeout=10).content
    assert pixels_of(data) == uploader.generated(upload_id, strength=0.2)
    assert Image.open(io.BytesIO(data)).size == (1024, 1024)


def test_an_inbox_request_may_name_an_upload(uploader: Uploader) -> None:
    upload_id = uploader.send(png(300, 200))
    s3, outputs = uploader.stack.deployed.client("s3"), uploader.stack.deployed.outputs()
    for name, named in [("good", upload_id), ("bad", "f" * 32)]:
        s3.put_object(
            Bucket=outputs["InboxBucket"],
            Key=f"{uploader.client_id}/{name}.json",
            Body=json.dumps(GENERATEN | {"init_image_id": named}).encode(),
        )

    def answered(name: str) -> Any:
        def look() -> Any:
            try:
                held = s3.get_object(
                    Bucket=outputs["ImagesBucket"], Key=f"{uploader.client_id}/inbox/{name}.json"
                )
            except s3.exceptions.NoSuchKey:
                return None
            response = json.loads(held["Body"].read())
            return response if response.get("status") != "queued" else None

        return wait_for(look, what="answer")

    key = answered("good")["images"][0]["key"]
    stored = s3.get_object(Bucket=outputs["ImagesBucket"], Key=key)["Body"].read()
    assert pixels_of(stored) == uploader.generated(upload_id)
    assert answered("bad")["detail"][0]["msg"] == NOT_FOUND


def test_an_upload_is_its_clients_whatever_the_token(
    stack: Stack, uploader: Uploader, http: requests.Session
) -> None:
    upload_id = uploader.send(png())
    uploader.take_token()
    assert uploader.generated(upload_id)
    other = Uploader(stack, http)
    assert other.rejected(upload_id) == other.rejected("f" * 32) == NOT_FOUND


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png()[:-20], "the image is cut off"),
        (png()[:100] + bytes(9) + png()[109:], "the image is damaged"),
        (flat(64, 64, kind="gif"), "not a PNG, JPEG, WebP, AVIF or HEIC image but a GIF"),
        (black_png(4096, 4096, more_bytes=-50_000_000), "the image is damaged"),
        (flat(5000, 5000), "the image has 5000 x 5000 pixels, and should have 64 to 4096"),
    ],
    ids=["cut off", "damaged", "GIF", "bomb", "5000 x 5000"],
)
def test_an_invalid_image_is_rejected_when_it_is_used(
    uploader: Uploader, data: bytes, reason: str
) -> None:
    assert uploader.rejected(uploader.send(data)).startswith(reason)
    jobs = uploader.http.get(f"{uploader.stack.api_url}/jobs", timeout=10).json()["jobs"]
    assert jobs == []


@pytest.mark.parametrize(
    ("data", "fields", "code"),
    [
        (b"", {}, (400, "EntityTooSmall")),
        (b"x" * 20_000_001, {}, (400, "EntityTooLarge")),
        (b"x", {"Content-Type": "image/gif"}, (403, "AccessDenied")),
        (b"x", {"Content-Type": "text/html"}, (403, "AccessDenied")),
        (b"x", {"key": "_uploads/somebody-else/x"}, (403, "AccessDenied")),
        (b"x", {"acl": "public-read"}, (403, "AccessDenied")),
        (b"x", {"x-amz-meta-more": "x"}, (403, "AccessDenied")),
        (b"x", {"x-amz-signature": "0" * 64}, (403, "SignatureDoesNotMatch")),
    ],
    ids=["too small", "too large", "GIF", "HTML", "other key", "ACL", "more fields", "signature"],
)
def test_a_form_accepts_only_what_its_policy_allows(
    uploader: Uploader, data: bytes, fields: dict[str, str], code: tuple[int, str]
) -> None:
    form = uploader.form()
    assert code_of(post(form, data, **fields)) == code
    assert uploader.rejected(form["id"]) == NOT_FOUND


def test_a_form_takes_up_to_20_mb(uploader: Uploader) -> None:
    data = png() + bytes(20_000_000 - len(png()))  # what comes after a PNG's end is fine
    assert uploader.generated(uploader.send(data))


def test_a_policy_cannot_be_replaced(uploader: Uploader) -> None:
    form = uploader.form()
    policy = json.loads(base64.b64decode(form["fields"]["policy"]))
    policy["expiration"] = "2099-01-01T00:00:00Z"
    anew = base64.b64encode(json.dumps(policy).encode()).decode()
    assert code_of(post(form, b"x", policy=anew)) == (403, "SignatureDoesNotMatch")


def test_a_form_is_not_taken_late(uploader: Uploader, signer: Any) -> None:
    now = datetime.now(UTC)
    bucket = uploader.stack.deployed.outputs()["ImagesBucket"]
    store = UploadStore(signer, bucket, credentials_expiry=lambda: now)
    form = store.form(
        uploader.client_id, "f" * 32, content_type="image/png", max_bytes=9, now=now
    )._asdict()

    def look() -> str | None:
        response = post(form, b"x")
        return response.text if response.status_code == 403 else None

    assert "Policy expired" in wait_for(look, what="end of the form")


def test_the_function_that_signs_forms_may_write_uploads_only(
    uploader: Uploader, signer: Any
) -> None:
    bucket = uploader.stack.deployed.outputs()["ImagesBucket"]
    signer.put_object(Bucket=bucket, Key=f"_uploads/{uploader.client_id}/x", Body=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        signer.put_object(Bucket=bucket, Key=f"{uploader.client_id}/x", Body=b"x")
    form = signer.generate_presigned_post(bucket, f"{uploader.client_id}/x")
    assert code_of(post(form, b"x")) == (403, "AccessDenied")


def test_a_page_may_send_a_form(uploader: Uploader) -> None:
    form = uploader.form()
    response = requests.options(
        form["url"],
        headers={
            "Origin": "https://app.example.com",
            "Access-Control-Request-Method": "POST",
        },
        timeout=10,
    )
    assert response.status_code == 200
    assert "POST" in response.headers["Access-Control-Allow-Methods"]


def test_asking_for_a_form_takes_a_token(stack: Stack, http: requests.Session) -> None:
    response = http.post(f"{stack.api_url}/uploads", json={"content_type": "image/png"}, timeout=10)
    assert (response.status_code, response.json()["code"]) == (401, "unauthorized")
