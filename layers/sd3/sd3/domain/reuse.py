"""Results that a request of the same client can have again: which, and under which key."""

import hashlib
import json
from datetime import datetime
from typing import Final

from sd3.domain.record import Record
from sd3.domain.request import GenerateRequest, resolve_seeds

RESULT_VERSION: Final = 1
"""Part of every key. A higher one forgets all results: of a version that would draw otherwise."""

NOT_IN_KEY: Final = frozenset(
    ("init_image", "init_image_id", "init_image_url", "seed", "log_prompt", "response_format",
     "metadata", "webhook", "dry_run")
)  # fmt: skip
"""Fields that do not change the images, or count in another form: the bytes of the init image, and
the seed of each image. Every other field counts, those of later versions too."""


class ReusedResult(Record):
    """The job whose images another job has copies of, and when it ended."""

    job_id: str
    completed_at: datetime


def names_every_seed(request: GenerateRequest) -> bool:
    """Return whether a request says which seeds it wants, so that its images are the same again."""
    seed = request.seed
    return None not in seed if isinstance(seed, list) else seed is not None


def result_key(
    request: GenerateRequest,
    *,
    client_id: str,
    generated_by: str,
    scaled_size: tuple[int, int] | None,
) -> str:
    """Hash all that decides which images a client gets for a request that names every seed.

    `generated_by` is what the operator has configured: the upstreams, their models and so on.
    """
    fields = request.model_dump(mode="json", exclude=set(NOT_IN_KEY), exclude_defaults=True)
    image = request.init_image and hashlib.sha256(request.init_image.data).hexdigest()
    seeds = resolve_seeds(request)
    parts = [RESULT_VERSION, client_id, generated_by, fields, image, seeds, scaled_size]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
