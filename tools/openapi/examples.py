"""Examples of requests and responses. The requests work as they are."""

from collections.abc import Mapping
from typing import Any, Final

Example = Mapping[str, Any]

GENERATE_REQUESTS: Final[Mapping[str, Example]] = {
    "A prompt alone": {"prompt": "a lighthouse at dusk"},
    "Four images of a given size": {
        "prompt": "a lighthouse at dusk, oil on canvas",
        "negative_prompt": "people, boats",
        "num_images": 4,
        "seed": 4275432097,
        "width": 1344,
        "height": 768,
        "steps": 30,
        "cfg_scale": 7,
        "image_encoding": "png",
    },
    "The price only": {"prompt": "a lighthouse at dusk", "num_images": 4, "dry_run": True},
}
"""Requests by a title. The first one is what a reader of the page sends at once."""

_PIXELS: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mOUi1rAgA0wMeAAg1MCAN8WASjj1Ss4AA"
    "AAAElFTkSuQmCC"
)
VERIFY_REQUESTS: Final[Mapping[str, Example]] = {"An image without a mark": {"image": _PIXELS}}

JOB_ID: Final = "c6Af9ESmIAMEbxg"
_BUCKET: Final = "https://images.s3.us-east-1.amazonaws.com"

QUEUED_JOB: Final[Example] = {
    "id": JOB_ID,
    "status": "queued",
    "created_at": "2026-11-25T03:43:31.489431Z",
    "completed_at": None,
    "expires_at": "2026-12-25T03:43:31.489431Z",
    "images": [],
    "prediction_time_ms": 0.0,
    "cost_usd": 0.0,
    "upstream": None,
    "ignored": [],
    "metadata": {},
    "reproduced_from": None,
    "error": None,
    "reused_from": None,
    "queue_position": 3,
    "eta_seconds": 12.4,
    "progress": None,
    "cancel_at": None,
}
_ENDED: Final[Example] = {**QUEUED_JOB, "queue_position": None, "eta_seconds": None}
CANCELED_JOB: Final[Example] = {
    **_ENDED,
    "status": "canceled",
    "completed_at": "2026-11-25T03:43:32.120114Z",
}
SUCCEEDED_JOB: Final[Example] = {
    **_ENDED,
    "status": "succeeded",
    "completed_at": "2026-11-25T03:43:31.675876Z",
    "images": [
        {
            "index": 0,
            "image_b64": None,
            "url": f"{_BUCKET}/my-app/{JOB_ID}/0.jpg?X-Amz-Signature=...",
            "expires_at": "2026-11-25T03:58:31.675922Z",
            "seed": 4275432097,
            "removed_for_safety": False,
            "safety_score": None,
            "width": 1024,
            "height": 1024,
            "content_type": "image/jpeg",
            "bytes": 91646,
            "sha256": "984a657da326185dc62f1d3758fd53c2fa4a65b5bdcd56a9f52383a67a4b6d23",
            "provenance": "basic",
            "c2pa": None,
            "thumbhash": None,
            "upstream": "octoai",
            "error": None,
        }
    ],
    "prediction_time_ms": 154.78,
    "cost_usd": 0.03,
    "upstream": "octoai",
}
IMAGE_LINK: Final[Example] = {
    name: SUCCEEDED_JOB["images"][0][name]
    for name in ("url", "expires_at", "width", "height", "content_type", "bytes")
}
JOBS: Final[Example] = {"jobs": [SUCCEEDED_JOB], "next_cursor": None}

VALIDATION_DETAIL: Final = [
    {
        "loc": ["body", "steps"],
        "msg": "Input should be less than or equal to 200",
        "type": "less_than_equal",
    }
]
REQUEST_ID: Final = f"{JOB_ID}="
"""A job has the id of the request that created it, without the padding."""

VERIFIED_IMAGE: Final[Example] = {
    "marked": True,
    "digital_source_type": "trainedAlgorithmicMedia",
    "c2pa": False,
    "ours": True,
    "bytes": "exact",
    "job_id": JOB_ID,
    "index": 0,
    "seed": 4275432097,
}
