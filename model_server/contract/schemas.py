"""OctoAI's SD3 request and response."""

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, Self

from PIL import Image
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainValidator,
    Tag,
    model_validator,
)
from pydantic_core import PydanticCustomError

from model_server.contract.images import decode_init_image

SIZES: Final = (
    (1536, 640), (768, 1344), (832, 1216), (1344, 768), (1152, 896),
    (640, 1536), (1216, 832), (896, 1152), (1024, 1024),
)  # fmt: skip
MAX_SEED: Final = 2**32 - 1
MAX_IMAGES: Final = 16

OTHER_MODELS_FIELDS: Final = frozenset(
    ("sampler", "style_preset", "loras", "mask_image", "checkpoint", "vae", "clip_skip", "prompt_2",
     "negative_prompt_2", "use_refiner", "high_noise_frac", "outpainting", "textual_inversions",
     "transfer_images")
)  # fmt: skip
OTHER_MODELS_PREFIXES: Final = ("controlnet", "inpaint_")

Seed = Annotated[int, Field(ge=1, le=MAX_SEED)]
Seeds = Annotated[
    Annotated[Seed, Tag("integer")]
    | Annotated[list[Seed | None], Field(max_length=MAX_IMAGES), Tag("list")],
    # A plain union would report two errors for a wrong seed: one for each of its types.
    Discriminator(lambda value: "list" if isinstance(value, list) else "integer"),
]


class GenerateRequest(BaseModel):
    """The body of POST /generate/sd3, with `init_image` decoded to RGB.

    `width` x `height` is one of SIZES.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, arbitrary_types_allowed=True
    )

    prompt: str = Field(min_length=1, max_length=10_000)
    negative_prompt: str | None = Field(default=None, max_length=10_000)
    cfg_scale: float = Field(default=12, gt=0, le=50, allow_inf_nan=False)
    steps: int = Field(default=30, ge=1, le=200)
    num_images: int = Field(default=1, ge=1, le=MAX_IMAGES)
    seed: Seeds | None = None
    width: int = 1024
    height: int = 1024
    image_encoding: Literal["jpeg", "png"] = "jpeg"
    init_image: Annotated[Image.Image, PlainValidator(decode_init_image)] | None = None
    strength: float = Field(default=0.8, gt=0, le=1, allow_inf_nan=False)
    log_prompt: bool = Field(default=False, description="Accepted; prompts are never logged.")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls_of_other_models(cls, values: Any) -> Any:
        """Drop the fields of OctoAI's other models when they are null: its SDK can send them."""
        if not isinstance(values, dict):
            return values
        return {n: v for n, v in values.items() if v is not None or not _is_other_models_field(n)}

    @model_validator(mode="after")
    def _check_fields_together(self) -> Self:
        if (self.width, self.height) not in SIZES:
            listed = ", ".join(f"{width}x{height}" for width, height in SIZES)
            raise PydanticCustomError("size", "width x height should be one of {s}", {"s": listed})
        if isinstance(self.seed, list) and len(self.seed) != self.num_images:
            raise PydanticCustomError("seed_count", "seed should list one entry per image")
        return self

    def resolve_seeds(self, random_seed: Callable[[], int]) -> list[int]:
        """Return the seed of every image, in order.

        A single seed is the first image's, and the others count up from it. `random_seed` supplies
        each seed that the request leaves open.
        """
        if isinstance(self.seed, int):
            first = self.seed - 1
            return [(first + index) % MAX_SEED + 1 for index in range(self.num_images)]
        seeds = self.seed or [None] * self.num_images
        return [random_seed() if seed is None else seed for seed in seeds]


def _is_other_models_field(name: str) -> bool:
    return name in OTHER_MODELS_FIELDS or name.startswith(OTHER_MODELS_PREFIXES)


class ResponseImage(BaseModel):
    """One image of a response; `image_b64` is null when it was removed for safety."""

    image_b64: str | None
    removed_for_safety: bool
    seed: int
    safety_score: float | None


class GenerateResponse(BaseModel):
    """The body of a 200: one entry per image, in the order of the seeds."""

    images: list[ResponseImage]
    prediction_time_ms: float
