"""POST /verify and reproductions as users call them: images of the deployed stack, and copies."""

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import pytest
import requests
from PIL import Image

from local.stack import Stack
from sd3.domain.xmp import read_marks, strip

TYPE: Final = "image/jpeg"

Post = Callable[..., requests.Response]


@pytest.fixture
def post(stack: Stack, client: requests.Session) -> Post:
    return lambda path, **options: client.post(f"{stack.api_url}{path}", timeout=60, **options)


def fetched(job: dict[str, Any]) -> bytes:
    return requests.get(job["images"][0]["url"], timeout=10).content


def encoded_anew(data: bytes) -> bytes:
    """Save an image with its XMP packet as another program would."""
    file = BytesIO()
    Image.open(BytesIO(data)).save(file, "JPEG", quality=90, xmp=read_marks(data, TYPE).packet)
    return file.getvalue()


def test_an_image_is_recognised_exact_or_altered_and_its_job_is_its_clients(
    stack: Stack, post: Post, new_token: Callable[[], str]
) -> None:
    job = post("/generate/sd3", json={"prompt": "a fox", "seed": 7}).json()
    data = fetched(job)

    def verified(image: bytes, **options: Any) -> Any:
        response = post("/verify", files={"image": image}, **options)
        assert response.status_code == 200, response.text
        return response.json()

    own = verified(data)
    assert own == {
        "marked": True,
        "digital_source_type": "algorithmicMedia",  # the sketch engine is no model
        "c2pa": False,
        "ours": True,
        "bytes": "exact",
        "job_id": job["id"],
        "index": 0,
        "seed": 7,
    }
    other = {"Authorization": f"Bearer {new_token()}"}
    assert verified(data, headers=other) == own | {"job_id": None}
    flipped = bytearray(data)
    flipped[-len(data) // 2] ^= 1
    assert verified(bytes(flipped)) == own | {"bytes": "altered"}
    assert verified(encoded_anew(data)) == own | {"bytes": "altered"}
    assert not verified(strip(data, TYPE))["marked"]

    new = post(f"/jobs/{job['id']}/reproduce").json()
    again = fetched(new)
    assert verified(again) == own | {"job_id": new["id"]}
    assert (again == data, strip(again, TYPE) == strip(data, TYPE)) == (False, True)


def test_what_the_gateway_hands_on_is_no_image_or_too_large(post: Post) -> None:
    for body, status in (
        ({"data": b"no image", "headers": {"Content-Type": "image/jpeg"}}, 415),
        ({"json": {"image": "bm8gaW1hZ2U="}}, 422),
        ({"files": {"image": bytes(5_000_000)}}, 413),
    ):
        assert post("/verify", **body).status_code == status
