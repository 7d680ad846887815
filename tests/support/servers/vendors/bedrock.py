"""Amazon Bedrock's InvokeModel of stability.sd3-5-large-v1:0, as AWS documents it (2026-11)."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal
from urllib.parse import unquote

import pybase64
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import BaseModel, ConfigDict, Field

from sd3.http.auth import Sign
from tests.support.servers.scripted_server import Received, Reply
from tests.support.servers.vendors.images import generated, size_of
from tests.support.servers.vendors.server import KEY, TEXT, Call, VendorServer, json_reply
from tests.support.servers.vendors.stability import SIZES

MODEL_ID: Final = "stability.sd3-5-large-v1:0"
REGION: Final = "us-west-2"
ACCESS_KEY: Final = "AKIAIOSFODNN7EXAMPLE"
_PATH: Final = re.compile(r"/model/([^/]+)/invoke")
_AUTHORIZATION: Final = re.compile(
    rf"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/\d{{8}}/{REGION}/bedrock/aws4_request, "
    r"SignedHeaders=(?P<headers>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def error(status: int, name: str, message: str = TEXT) -> Reply:
    """Make an error in the shape of AWS's rest-json."""
    return json_reply(status, {"message": message}, error_type=f"{name}:http://aws.test/")


STATUSES: Final = {
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ThrottlingException": 429,
    "ModelTimeoutException": 408,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
    "ValidationException": 400,
    "ServiceQuotaExceededException": 400,
    "ModelNotReadyException": 429,
    "ModelErrorException": 424,
}
"""Of every error of InvokeModel."""
ERRORS: Final = {name: error(status, name) for name, status in STATUSES.items()}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    prompt: Annotated[str, Field(max_length=10_000)]
    negative_prompt: Annotated[str, Field(max_length=10_000)] | None = None
    mode: Literal["text-to-image", "image-to-image"] = "text-to-image"
    aspect_ratio: str = "1:1"
    seed: Annotated[int, Field(ge=0, le=2**32 - 2)] = 0
    output_format: Literal["jpeg", "png", "webp"] = "png"
    image: str | None = None
    strength: Annotated[float, Field(ge=0, le=1)] | None = None


class BedrockServer(VendorServer):
    """Amazon Bedrock on loopback, which takes the requests that its key has signed."""

    def __init__(self, *, key: str = KEY, model_id: str = MODEL_ID) -> None:
        super().__init__(key=key)
        self.model_id = model_id

    def read(self, received: Received) -> Call | Reply:
        """Check the signature, the model and the schema."""
        path = _PATH.fullmatch(received.path)
        if received.method != "POST" or not path:
            return error(404, "UnknownOperationException")
        if received.headers.get("authorization", "").startswith("Bearer "):
            if not self.has_key(received):
                return ERRORS["AccessDeniedException"]
        elif not _is_signed(received, self.url, self.key):
            return error(403, "InvalidSignatureException")
        if unquote(path[1]) != self.model_id:
            return ERRORS["ResourceNotFoundException"]
        try:
            return _read(received)
        except ValueError as failed:  # ValidationError is one
            return error(400, "ValidationException", str(failed))

    def generate(self, call: Call) -> Reply:
        """Return the image, or why it was filtered."""
        if call.seed in self.filtered:
            reason = self.filtered[call.seed] or "Filter reason: output image"
            return json_reply(200, {"seeds": [call.seed], "finish_reasons": [reason]})
        size = size_of(call.image) if call.image else SIZES[call.fields.get("aspect_ratio", "1:1")]
        image = generated(call.seed, *size, kind=call.fields.get("output_format", "png"))
        images = [pybase64.b64encode_as_string(image)]
        fields = {"seeds": [call.seed], "finish_reasons": [None], "images": images}
        return json_reply(200, fields)


def _read(received: Received) -> Call:
    if received.headers.get("content-type") != "application/json":
        raise ValueError("content-type")
    body = _Body.model_validate_json(received.body)
    image = pybase64.b64decode(body.image, validate=True) if body.image else None
    of_image = body.mode == "image-to-image"
    if of_image != bool(image and min(size_of(image)) >= 64 and body.strength is not None):
        raise ValueError("image-to-image has an image and a strength")
    if body.aspect_ratio not in SIZES or (of_image and "aspect_ratio" in body.model_fields_set):
        raise ValueError("aspect_ratio")
    return Call(body.model_dump(exclude_unset=True, exclude={"image"}), image, received.headers)


class NoKey:
    """There is no secret: calls are signed."""

    def read(self) -> str:
        return ""

    def renew(self, rejected: str) -> bool:
        return False


def signer(key: str) -> Sign:
    """Sign as Aws.signer does, with the key of a server."""

    def sign(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
        request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
        SigV4Auth(Credentials(ACCESS_KEY, key), "bedrock", REGION).add_auth(request)
        return dict(request.headers.items())

    return sign


def _is_signed(received: Received, url: str, key: str) -> bool:
    """Return whether the signature is the one that botocore makes of the request."""
    said = _AUTHORIZATION.fullmatch(received.headers.get("authorization", ""))
    if not said:
        return False
    names = said["headers"].split(";")
    headers = {name: received.headers.get(name, "") for name in names}
    request = AWSRequest(
        method="POST", url=url + received.path, data=received.body, headers=headers
    )
    request.context["timestamp"] = received.headers.get("x-amz-date", "")
    auth = SigV4Auth(Credentials(ACCESS_KEY, key), "bedrock", REGION)
    text = auth.string_to_sign(request, auth.canonical_request(request))
    is_same = hmac.compare_digest(auth.signature(text, request), said["signature"])
    hashed = received.headers.get("x-amz-content-sha256")
    return is_same and hashed in {None, hashlib.sha256(received.body).hexdigest()}
