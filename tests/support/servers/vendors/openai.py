"""POST /v1/images/generations as SGLang Diffusion and vLLM-Omni have it (2026-11)."""

import time
from typing import Annotated, Any, Final, Literal

import pybase64
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tests.support.servers.scripted_server import Received, Reply
from tests.support.servers.vendors.images import generated
from tests.support.servers.vendors.server import KEY, TEXT, Call, VendorServer, json_reply

PATH: Final = "/v1/images/generations"
Engine = Literal["sglang", "vllm-omni"]


def error(status: int, detail: object) -> Reply:
    """Make an error in FastAPI's shape."""
    return json_reply(status, {"detail": detail})


ERRORS: Final = {
    "size": error(400, TEXT),
    "validation": error(422, [{"loc": ["body", "prompt"], "msg": TEXT, "type": "missing"}]),
    "unauthorized": json_reply(401, {"error": TEXT}),
    "not_initialized": error(503, TEXT),
    "generation": error(500, TEXT),
    "policy": json_reply(
        400, {"error": {"code": "content_policy_violation", "message": TEXT, "type": "image"}}
    ),
    "rate": json_reply(
        429, {"error": {"code": None, "message": TEXT, "type": "rate_limit_exceeded"}}
    ),
}
"""Errors by what they are about; the last two are OpenAI's own, which proxies have too."""


class _Body(BaseModel):
    """The fields of both servers; like them, it ignores unknown fields."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: str
    model: str | None = None
    n: Annotated[int, Field(ge=1, le=10)] = 1
    size: Annotated[str, Field(pattern="^[0-9]+x[0-9]+$")] = "1024x1024"
    negative_prompt: str | None = None
    num_inference_steps: Annotated[int, Field(ge=1, le=200)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=20)] | None = None
    seed: int | None = None
    output_format: Literal["png", "jpeg", "webp"] = "png"
    response_format: Literal["b64_json", "url"] | None = None


class OpenaiServer(VendorServer):
    """An engine on loopback; with an empty `key` it takes every request."""

    def __init__(self, engine: Engine = "vllm-omni", *, key: str = KEY) -> None:
        super().__init__(key=key)
        self.engine = engine

    def read(self, received: Received) -> Call | Reply:
        """Check the schema; what is left out gets the engine's own default."""
        if (received.method, received.path) != ("POST", PATH):
            return error(404, "Not Found")
        if self.key and not self.has_key(received):
            return ERRORS["unauthorized"]
        try:
            body = _Body.model_validate_json(received.body)
        except ValidationError as failed:
            return error(422, failed.errors(include_url=False, include_context=False))
        seed = 42 if self.engine == "sglang" else 0
        fields = {"seed": seed} | body.model_dump(exclude_unset=True)
        return Call(fields, None, received.headers)

    def generate(self, call: Call) -> Reply:
        """Make the image, without its seed; SGLang returns a link unless base64 is requested."""
        width, height = map(int, call.fields["size"].split("x"))
        image = generated(call.seed, width, height, kind=call.fields["output_format"])
        data: dict[str, Any] = {"b64_json": pybase64.b64encode_as_string(image), "url": None}
        fields: dict[str, Any] = {"created": int(time.time()), "data": [data]}
        if self.engine == "sglang":
            if call.fields.get("response_format") != "b64_json":
                data |= {"b64_json": None, "url": "/v1/images/1/content"}
            data["revised_prompt"] = call.fields["prompt"]
            fields |= {"id": "1", "inference_time_s": 1.25, "peak_memory_mb": 24_000.0}
        return json_reply(200, fields)
