"""OctoAI's POST /generate/sd3, of all images in one call, as its OpenAPI document had it."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pybase64

from sd3.domain.request_checks import SIZES
from tests.support.servers.scripted_server import Received, Reply
from tests.support.servers.vendors.images import generated, size_of
from tests.support.servers.vendors.server import TEXT, Call, VendorServer, json_reply

PATH: Final = "/generate/sd3"
POLICY: Final = "This request violates our Acceptable Use Policy."
REQUIRED: Final = frozenset(("prompt", "num_images", "seed", "width", "height"))

ERRORS: Final = {
    "policy": json_reply(400, {"message": POLICY}),
    "validation": json_reply(422, {"detail": [{"loc": ["body"], "msg": TEXT, "type": "value"}]}),
    "unauthorized": json_reply(401, {"message": TEXT}),
    "rate": json_reply(429, {"message": TEXT}),
    "unavailable": json_reply(503, {"message": TEXT}),
    "internal": json_reply(500, {"message": TEXT}),
}


class OctoaiServer(VendorServer):
    """OctoAI on loopback."""

    def read(self, received: Received) -> Call | Reply:
        """Check what the document requires."""
        if (received.method, received.path) != ("POST", PATH):
            return json_reply(404, {"message": "Not Found"})
        if not self.has_key(received):
            return ERRORS["unauthorized"]
        fields: dict[str, Any] = json.loads(received.body)
        text = fields.pop("init_image", None)
        size = (fields.get("width"), fields.get("height"))
        if not fields.keys() >= REQUIRED or size not in SIZES:
            return ERRORS["validation"]
        image = pybase64.b64decode(text, validate=True) if text else None
        if image and (min(size_of(image)) < 1 or "strength" not in fields):
            return ERRORS["validation"]
        return Call(fields, image, received.headers)

    def generate(self, call: Call) -> Reply:
        """Make an image for each seed, or null for one that is filtered."""
        images = [self._image(call.fields, seed) for seed in _seeds(call.fields)]
        return json_reply(200, {"images": images, "prediction_time_ms": 3451.7})

    def _image(self, fields: Mapping[str, Any], seed: int) -> dict[str, Any]:
        is_filtered = seed in self.filtered
        image = generated(seed, fields["width"], fields["height"], kind=fields["image_encoding"])
        return {
            "image_b64": None if is_filtered else pybase64.b64encode_as_string(image),
            "removed_for_safety": is_filtered,
            "seed": seed,
            "safety_score": None,
        }


def _seeds(fields: Mapping[str, Any]) -> list[int]:
    seed: int | list[int] = fields["seed"]
    return seed if isinstance(seed, list) else [seed]
