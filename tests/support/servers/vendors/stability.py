"""Stability AI's POST /v2beta/stable-image/generate/sd3, by its OpenAPI document (2026-11)."""

import email
import email.policy
from collections.abc import Iterator, Mapping
from typing import Final

from tests.support.servers.scripted_server import Received, Reply, http_reply
from tests.support.servers.vendors.images import generated, size_of
from tests.support.servers.vendors.server import TEXT, Call, VendorServer, json_reply

PATH: Final = "/v2beta/stable-image/generate/sd3"
SIZES: Final = {
    "21:9": (1536, 640), "16:9": (1344, 768), "3:2": (1216, 832),
    "5:4": (1088, 896), "1:1": (1024, 1024), "4:5": (896, 1088),
    "2:3": (832, 1216), "9:16": (768, 1344), "9:21": (640, 1536),
}  # fmt: skip
"""Those of 5:4 and 4:5 are not the contract's, as people have seen."""
MODELS: Final = ("sd3.5-large", "sd3.5-large-turbo", "sd3.5-medium", "sd3.5-flash")
FORMATS: Final = ("png", "jpeg", "webp")
FIELDS: Final = frozenset(
    ("prompt", "mode", "strength", "aspect_ratio", "model", "seed", "output_format",
     "style_preset", "negative_prompt", "cfg_scale")
)  # fmt: skip
MAX_BYTES: Final = 10 * 1024 * 1024


def error(status: int, name: str, *texts: str) -> Reply:
    """Make an error in Stability's shape."""
    errors = list(texts) or [TEXT]
    return json_reply(status, {"id": "4212a4b66fbe1ced", "name": name, "errors": errors})


ERRORS: Final = {
    "bad_request": error(400, "bad_request"),
    "unauthorized": error(401, "unauthorized"),
    "payment_required": error(402, "payment_required"),
    "content_moderation": error(403, "content_moderation"),
    "payload_too_large": error(413, "payload_too_large"),
    "invalid_language": error(422, "invalid_language"),
    "public_figure": error(422, "public_figure"),
    "rate_limit_exceeded": error(429, "rate_limit_exceeded"),
    "internal_error": error(500, "internal_error"),
}
"""Every error that the document has, by its name."""


class StabilityServer(VendorServer):
    """Stability AI on loopback."""

    def read(self, received: Received) -> Call | Reply:
        """Read the form, and reject a request that the real server would reject."""
        if (received.method, received.path) != ("POST", PATH):
            return error(404, "not_found", "The requested resource could not be found.")
        if not self.has_key(received):
            return ERRORS["unauthorized"]
        if len(received.body) > MAX_BYTES:
            return ERRORS["payload_too_large"]
        if received.headers.get("accept") not in {"image/*", "application/json"}:
            return error(400, "bad_request", "accept: must be image/* or application/json")
        if not received.headers.get("content-type", "").startswith("multipart/form-data;"):
            return error(400, "bad_request", "content-type: must be multipart/form-data")
        parts = _parts(received)
        image = parts.pop("image", None)
        fields = {name: value.decode() for name, value in parts.items()}
        field_errors = list(_faults(fields, image))
        return (
            error(400, "bad_request", *field_errors)
            if field_errors
            else Call(fields, image, received.headers)
        )

    def generate(self, call: Call) -> Reply:
        """Return the bytes of the image, blurred if it is filtered."""
        is_filtered = call.seed in self.filtered
        kind = call.fields.get("output_format", "png")
        size = size_of(call.image) if call.image else SIZES[call.fields.get("aspect_ratio", "1:1")]
        return http_reply(
            200,
            generated(0 if is_filtered else call.seed, *size, kind=kind),
            content_type=f"image/{kind}",
            seed=str(call.seed),
            finish_reason="CONTENT_FILTERED" if is_filtered else "SUCCESS",
            x_request_id="2a1b2d4eafe2bc6ab4cd4d5c6133f513",
        )


def _parts(received: Received) -> dict[str, bytes]:
    """Return the parts of a multipart/form-data body by their names."""
    head = b"Content-Type: " + received.headers["content-type"].encode() + b"\r\n\r\n"
    form = email.message_from_bytes(head + received.body, policy=email.policy.HTTP)
    parts: dict[str, bytes] = {}
    for part in form.iter_parts():
        name = part["content-disposition"].params["name"]
        value = part.get_payload(decode=True)
        assert isinstance(value, bytes)
        parts[name] = value
    return parts


def _faults(fields: Mapping[str, str], image: bytes | None) -> Iterator[str]:
    """Yield what the document does not allow."""
    for name in fields.keys() - FIELDS:
        yield f"{name}: is not allowed"
    if not 1 <= len(fields.get("prompt", "")) <= 10_000:
        yield "prompt: must have 1 to 10000 characters"
    if len(fields.get("negative_prompt", "")) > 10_000:
        yield "negative_prompt: must have at most 10000 characters"
    if fields.get("model", MODELS[0]) not in MODELS:
        yield "model: is not one of them"
    if fields.get("output_format", "png") not in FORMATS:
        yield "output_format: is not one of them"
    if not fields.get("seed", "0").isdecimal() or int(fields.get("seed", "0")) > 2**32 - 2:
        yield "seed: must be 0 to 4294967294"
    if not 1 <= float(fields.get("cfg_scale", 4)) <= 10:
        yield "cfg_scale: must be 1 to 10"
    yield from _mode_faults(fields, image)


def _mode_faults(fields: Mapping[str, str], image: bytes | None) -> Iterator[str]:
    mode = fields.get("mode", "text-to-image")
    if mode == "image-to-image":
        if image is None or min(size_of(image)) < 64:
            yield "image: is required, with sides of at least 64 pixels"
        if not 0 <= float(fields.get("strength", -1)) <= 1:
            yield "strength: is required, 0 to 1"
        if "aspect_ratio" in fields:
            yield "aspect_ratio: is for text-to-image only"
    elif mode == "text-to-image":
        if image is not None or "strength" in fields:
            yield "image, strength: are for image-to-image only"
        if fields.get("aspect_ratio", "1:1") not in SIZES:
            yield "aspect_ratio: is not one of them"
    else:
        yield "mode: is not one of them"
