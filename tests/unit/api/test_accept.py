"""What real clients accept, by the header Accept that they send."""

import pytest

from sd3.api.accept import best_image_type, prefers_json

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
CHROME_PAGE = (
    "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,"
    "*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
)
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
SAFARI = (
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,"
    "image/svg+xml,image/*;q=0.8,*/*;q=0.5"
)
SAFARI_14 = "image/webp,image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
SAFARI_13 = "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"


@pytest.mark.parametrize(
    ("accept", "best"),
    [
        (CHROME, "avif"),
        (CHROME_PAGE, "avif"),
        (FIREFOX, "avif"),
        (SAFARI, "avif"),
        (SAFARI_14, "webp"),
        (SAFARI_13, "jpeg"),
        ("", "jpeg"),  # OkHttp, URLSession
        ("*/*", "jpeg"),  # curl
        ("image/*", "jpeg"),
        ("application/json", "jpeg"),
        ("application/json, image/avif;q=0.5", "avif"),
        ("image/avif;q=0, image/webp", "webp"),
        ("image/avif;q=0.1, image/webp;q=0.2", "webp"),
        ("image/avif;q=0.5, image/jpeg", "jpeg"),
        ("image/webp;q=0.5, image/*;q=0.5, */*", "webp"),
        ("image/jpeg;q=0, image/*", "jpeg"),
        ("image/jpeg;q=0.2, image/webp;q=0.5, */*", "webp"),
        ("IMAGE/AVIF ; Q=1.0", "avif"),
        ("image/avif;q=2", "jpeg"),
        ("image/avif;profile=x;q=0.9,*/*;q=0.1", "avif"),
        ("image/avifx,ximage/webp", "jpeg"),
        (";;,q=1,image/", "jpeg"),
    ],
)
def test_a_client_gets_the_smallest_file_of_the_types_that_it_names(accept: str, best: str) -> None:
    assert best_image_type(accept) == f"image/{best}"


@pytest.mark.parametrize("accept", [CHROME, CHROME_PAGE, FIREFOX, SAFARI, SAFARI_13, "", "*/*"])
def test_browsers_and_programs_are_redirected(accept: str) -> None:
    assert not prefers_json(accept)
