"""What clients send: OctoAI's SD3 request and the request of an upload, checked."""

import hashlib
from secrets import randbelow
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    PlainValidator,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from sd3.domain.client_url import MAX_URL, UrlError, read_url
from sd3.domain.image import Image, decode_init_image
from sd3.domain.json_body import parse_json
from sd3.domain.request_checks import (
    MAX_IMAGES,
    body_error,
    errors_between_fields,
    errors_of_texts,
    is_of_other_models,
)
from sd3.domain.webhook import WebhookRequest
from sd3.errors import InvalidRequestError

MAX_SEED: Final = 2**32 - 1
MAX_METADATA: Final = 16
MAX_BATCH_BYTES: Final = 50_000_000
MAX_FIELDS: Final = 100  # the contract has some 40 names; more are one error, not one each

OCTOAI_OPTIONAL: Final = frozenset(
    ("negative_prompt", "cfg_scale", "steps", "num_images", "seed", "width", "height",
     "image_encoding", "init_image", "strength", "log_prompt")
)  # fmt: skip
"""Null means the default here: OctoAI's documentation says so, and its SDK sends it."""


def _whole(value: object) -> object:
    """Return 30 for 30.0, which is an integer in JSON Schema, and in the JSON of many languages."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


# Bounds come before it, next to the type: pydantic writes them into the schema only there.
Whole: Final = BeforeValidator(_whole)
Seed = Annotated[int, Field(ge=1, le=MAX_SEED), Whole]
SeedList = Annotated[list[Seed | None], Field(max_length=MAX_IMAGES)]
Seeds = Annotated[
    Annotated[Seed, Tag("one")] | Annotated[SeedList, Tag("list")],
    Discriminator(lambda value: "list" if isinstance(value, list) else "one"),
]
InitImage = Annotated[
    Image,
    PlainValidator(decode_init_image),
    PlainSerializer(lambda _: None),
    WithJsonSchema({"type": "string", "contentEncoding": "base64"}),
]


def _checked_url(url: str) -> str:
    try:
        read_url(url)
    except UrlError as error:
        raise PydanticCustomError("url", "{reason}", {"reason": str(error)}) from error
    return url


# It is not stored: it may hold a token, and nobody needs it once the image is fetched.
InitImageUrl = Annotated[
    str, Field(max_length=MAX_URL), AfterValidator(_checked_url), PlainSerializer(lambda _: None)
]
InitImageFit = Literal["cover", "contain", "stretch"]
Fit = Annotated[
    InitImageFit | None,
    # Null is the default, so that it is not stored: a function of an earlier version may read it.
    AfterValidator(lambda fit: None if fit == "cover" else fit),
]
MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]
_CLOSED: Final[dict[str, Any]] = {"additionalProperties": False}


def _small(value: object) -> object:
    """Refuse a huge object with one error, before pydantic makes one for each of its entries."""
    if isinstance(value, dict) and len(value) > MAX_METADATA:
        raise PydanticCustomError("too_long", "Object should have at most 16 pairs")
    return value


Metadata = Annotated[
    dict[MetadataKey, MetadataValue], Field(max_length=MAX_METADATA), BeforeValidator(_small)
]


class GenerateRequest(BaseModel):
    """POST /generate/sd3: OctoAI's SD3 request, and what is ours on top.

    A client's request has no other fields. A stored one may have those of a later version.
    """

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, json_schema_extra=_CLOSED)

    prompt: str = Field(
        min_length=1,
        max_length=10_000,
        repr=False,
        description="What to generate; at least one visible character.",
    )
    negative_prompt: str | None = Field(
        default=None,
        max_length=10_000,
        repr=False,
        description="What the image should not show.",
    )
    cfg_scale: float = Field(
        default=12,
        gt=0,
        le=50,
        allow_inf_nan=False,
        description="How closely the image follows the prompt.",
    )
    steps: Annotated[int, Field(ge=1, le=200), Whole] = Field(
        default=30, description="Diffusion steps; price and time grow with them."
    )
    num_images: Annotated[int, Field(ge=1, le=MAX_IMAGES), Whole] = Field(
        default=1, description="Images to generate."
    )
    seed: Seeds | None = Field(
        default=None,
        description="One seed (the images take seed, seed+1, ...), or one for each image. "
        "The service chooses what is null at random; the response names every seed.",
    )
    width: Annotated[int, Whole] = Field(
        default=1024, description="Pixels; one of the nine sizes with height."
    )
    height: Annotated[int, Whole] = Field(
        default=1024, description="Pixels; one of the nine sizes with width."
    )
    image_encoding: Literal["jpeg", "png"] = Field(default="jpeg", description="File format.")
    init_image: InitImage | None = Field(
        default=None,
        repr=False,
        description="Base64 of a PNG, JPEG, WebP, AVIF or HEIC to start from, plain or as a data: "
        "URI; 64 to 4096 pixels a side, 4.5 MB at most.",
    )
    init_image_id: str | None = Field(
        default=None,
        pattern="^[0-9a-f]{32}$",
        description="The id of an upload to start from, in place of init_image: POST /uploads "
        "returns it with a form for an image of up to 20 MB.",
    )
    init_image_url: InitImageUrl | None = Field(
        default=None,
        repr=False,
        description="The https address of an image to start from, in place of init_image, which "
        "anybody can fetch: up to 20 MB within 10 s, without a redirect.",
    )
    init_image_fit: Fit = Field(
        default=None,
        json_schema_extra={"default": "cover"},
        description="How an init image of another shape is used: cover cuts off what is too much, "
        "evenly on both sides; contain shows all of it, on white; stretch distorts it.",
    )
    strength: float = Field(
        default=0.8,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="How far the image may leave the init image; 1 ignores it.",
    )
    log_prompt: bool = Field(
        default=False, description="Accepted for old clients; prompts are never logged."
    )
    response_format: Literal["url", "b64_json"] = Field(
        default="url",
        description="b64_json also fills image_b64, in order, for as many images as fit 4.5 MB: in "
        "the response, when the call is repeated, and in GET /jobs/{id}.",
    )
    embed_parameters: bool | None = Field(
        default=None,
        description="Whether the files hold the request as the text `parameters`, which tools of "
        "Stable Diffusion read: the prompts, the seed and the rest. Null is the deployment's mode.",
    )
    placeholder: Literal["thumbhash"] | None = Field(
        default=None,
        description="thumbhash also fills thumbhash of each image: base64 of a blurred image, to "
        "show until the image is there.",
    )
    webhook: WebhookRequest | None = Field(
        default=None,
        repr=False,
        description="`url`, and `events` if not all: where to send the end of this job, in place "
        "of the client's own webhook.",
    )
    metadata: Metadata = Field(
        default_factory=dict, description="Up to 16 pairs of strings, echoed."
    )
    dry_run: bool = Field(
        default=False, description="Return what the request would cost, and generate nothing."
    )

    @property
    def has_init_image(self) -> bool:
        """Whether it starts from an image, which may have to be read yet."""
        return any((self.init_image, self.init_image_id, self.init_image_url))

    @classmethod
    def parse(cls, body: bytes | str, *, max_images: int | None = None) -> Self:
        """Read the JSON body of a request, of a client who may ask for so many images.

        Raises InvalidJsonError, or InvalidRequestError with every wrong field at once.
        """
        return cls.from_values(parse_json(body), max_images=max_images)

    @classmethod
    def from_values(cls, values: object, *, max_images: int | None = None) -> Self:
        """Check a request that has been read from JSON; raises InvalidRequestError."""
        if not isinstance(values, dict):
            raise InvalidRequestError([body_error((), "Input should be an object", "dict_type")])
        if len(values) > MAX_FIELDS:
            msg = f"Object should have at most {MAX_FIELDS} fields"
            raise InvalidRequestError([body_error((), msg, "too_long")])
        field_errors = [
            body_error((name,), "not supported on SD3", "not_supported")
            for name, value in values.items()
            if is_of_other_models(name) and value is not None
        ]
        own = {
            name: value
            for name, value in values.items()
            if not is_of_other_models(name) and not (value is None and name in OCTOAI_OPTIONAL)
        }
        request = None
        try:
            request = cls.model_validate(own, extra="forbid")
        except ValidationError as error:
            field_errors += [
                body_error(e["loc"], e["msg"], e["type"])
                for e in error.errors(include_url=False, include_context=False, include_input=False)
            ]
        wrong = {part for field_error in field_errors for part in field_error.loc[1:2]}
        field_errors += errors_of_texts(own, wrong)
        field_errors += errors_between_fields(own, wrong, max_images or MAX_IMAGES)
        if request is None or field_errors:
            raise InvalidRequestError(field_errors)
        return request


class UploadRequest(BaseModel):
    """POST /uploads: what will be sent."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    content_type: Literal[
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/avif",
        "image/heic",
        "image/heif",
        "application/jsonl",
        "application/x-ndjson",
    ] = Field(
        description="The Content-Type that the form sends the file with: an image, or the lines"
        " of a batch."
    )

    @property
    def is_image(self) -> bool:
        """Whether it will be an image, and else the lines of a batch."""
        return self.content_type.startswith("image/")


def resolve_seeds(request: GenerateRequest) -> tuple[int, ...]:
    """Choose one seed for each image.

    A single seed is counted on and wraps inside 1..2^32-1; null is a random seed.
    """
    seed = request.seed
    if isinstance(seed, int):
        return tuple((seed - 1 + index) % MAX_SEED + 1 for index in range(request.num_images))
    each = seed or [None] * request.num_images
    return tuple(one if one is not None else randbelow(MAX_SEED) + 1 for one in each)


def fingerprint_of(request: GenerateRequest, *, scaled_size: tuple[int, int] | None = None) -> str:
    """Hash all that a client asked for: its init image and the size to scale to included.

    An upload counts by its id, since it expires, and an image of another server by its URL.
    Defaults do not count: later versions have more of them.
    """
    text = request.model_dump_json(exclude={"init_image"}, exclude_defaults=True)
    digest = hashlib.sha256(text.encode())
    if request.init_image_url:
        digest.update(request.init_image_url.encode())
    elif request.init_image and request.init_image_id is None:
        digest.update(hashlib.sha256(request.init_image.data).digest())
    if scaled_size:
        digest.update(f"{scaled_size[0]}x{scaled_size[1]}".encode())
    return digest.hexdigest()
