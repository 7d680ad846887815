"""The wire contract: OctoAI's SD3 request and answer."""

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

from model_server.contract.images import read_init_image

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
    # With a plain union, every wrong seed would be two faults: one for each kind.
    Discriminator(lambda value: "list" if isinstance(value, list) else "integer"),
]


class GenerateRequest(BaseModel):
    """POST /generate/sd3. `width` x `height` is one of SIZES; `init_image` is decoded, RGB."""

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
    init_image: Annotated[Image.Image, PlainValidator(read_init_image)] | None = None
    strength: float = Field(default=0.8, gt=0, le=1, allow_inf_nan=False)
    log_prompt: bool = Field(default=False, description="Accepted; prompts are never logged.")

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls_of_other_models(cls, values: Any) -> Any:
        """OctoAI's SDK can send its other models' fields as null, which asks for nothing."""
        if not isinstance(values, dict):
            return values
        return {n: v for n, v in values.items() if v is not None or not _of_other_models(n)}

    @model_validator(mode="after")
    def _fields_fit_each_other(self) -> Self:
        if (self.width, self.height) not in SIZES:
            listed = ", ".join(f"{width}x{height}" for width, height in SIZES)
            raise PydanticCustomError("size", "width x height should be one of {s}", {"s": listed})
        if isinstance(self.seed, list) and len(self.seed) != self.num_images:
            raise PydanticCustomError("seed_count", "seed should list one entry per picture")
        return self

    def fix_seeds(self, new_seed: Callable[[], int]) -> list[int]:
        """Return the seed of every picture, in order; what the client left open is drawn."""
        if isinstance(self.seed, int):
            first = self.seed - 1
            return [(first + index) % MAX_SEED + 1 for index in range(self.num_images)]
        wanted = self.seed or [None] * self.num_images
        return [new_seed() if seed is None else seed for seed in wanted]


def _of_other_models(name: str) -> bool:
    return name in OTHER_MODELS_FIELDS or name.startswith(OTHER_MODELS_PREFIXES)


class ImageAnswer(BaseModel):
    """One picture; `image_b64` is null when it was removed for safety."""

    image_b64: str | None
    removed_for_safety: bool
    seed: int
    safety_score: float | None


class GenerateAnswer(BaseModel):
    """A 200: one entry per picture, in the order of the seeds."""

    images: list[ImageAnswer]
    prediction_time_ms: float
