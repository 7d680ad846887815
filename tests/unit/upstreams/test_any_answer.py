"""Whatever an upstream sends is an image or an error of the upstream, never another exception."""

import json
import time
from collections.abc import Mapping
from contextlib import closing
from types import SimpleNamespace
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from sd3.domain.generation import UpstreamResult
from sd3.errors import UpstreamError
from sd3.http.error_response import ErrorResponse
from sd3.http.session import HttpLimits, HttpResponse, HttpSession
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.images import png
from tests.support.factories.octoai_responses import b64
from tests.support.factories.tasks import make_task
from tests.support.servers.scripted_server import MisbehavingServer, raw
from tests.support.servers.vendors.all_vendors import VENDORS, Vendor
from tests.support.servers.vendors.server import KEY

NAMES: Final = (
    "Retry-After", "Date", "seed", "finish-reason", "x-amzn-ErrorType", "Content-Length",
    "Transfer-Encoding", "Content-Type", "Content-Encoding", "X-Other",
)  # fmt: skip
DATES: Final = st.builds(
    "Thu, {} Nov {} 22:00:30 {}".format,
    st.sampled_from((26, 10**20)),
    st.sampled_from((2026, 10**20)),
    st.sampled_from(("GMT", "+0100", f"+{10**20}", "")),
)
LATIN: Final = st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=40)
HEADERS: Final = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(NAMES, DATES | LATIN | st.integers(0).map(str))
)
FIELDS: Final = st.sampled_from((
    "images", "image_b64", "removed_for_safety", "seed", "safety_score", "prediction_time_ms",
    "data", "b64_json", "url", "inference_time_s", "seeds", "finish_reasons", "error", "code",
    "type", "name", "__type",
))  # fmt: skip
SCALARS: Final = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from((b64(png()), f"data:image/png;base64,{b64(png())}", "data:,", "null", "A==="))
)  # fmt: skip
VALUES: Final = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4)
)
BODIES: Final = (
    st.binary(max_size=200)
    | VALUES.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(FIELDS, VALUES, max_size=5).map(lambda value: json.dumps(value).encode())
    | st.builds(bytes.__mul__, st.sampled_from((b"[", b'{"images":', b'"')), st.just(50_000))
    | st.sampled_from((png(), png()[:-9]))
)
STATUSES: Final = st.sampled_from((200, 400, 429, 503)) | st.integers(100, 999)


def generate(vendor: Vendor, http: Any) -> UpstreamResult | None:
    """Call an upstream over `http`; return None for an error of the upstream."""
    upstream = vendor.make("https://image.example", FakeKey(KEY), http)
    try:
        return upstream.generate(make_task(deadline=time.monotonic() + 30))
    except UpstreamError:
        return None


@pytest.mark.parametrize("vendor", VENDORS, ids=lambda vendor: vendor.name)
@given(status=STATUSES, headers=HEADERS, body=BODIES)
@settings(max_examples=100, deadline=None)
def test_any_response_is_an_image_or_an_upstreams_error(
    vendor: Vendor, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    def post(_path: str, *, explain: Any, **_: object) -> HttpResponse:
        received = CaseInsensitiveDict(headers)
        if status == 200:
            return HttpResponse(received, bytearray(body))
        failed = ErrorResponse(status, received, body)
        raise explain(failed) or failed.to_error(failed.describe("The upstream"))

    result = generate(vendor, SimpleNamespace(post=post))
    assert result is None or len(result.images) == 1


LINES: Final = st.sampled_from((b"HTTP/1.1 200 OK", b"HTTP/1.1 429 Slow", b"HTTP/1.0 200", b""))


@given(data=st.data(), vendor=st.sampled_from(VENDORS))
@settings(max_examples=50, deadline=None)
def test_any_bytes_are_an_image_or_an_upstreams_error(data: st.DataObject, vendor: Vendor) -> None:
    lines = [f"{name}: {text}".encode("latin-1") for name, text in data.draw(HEADERS).items()]
    answer = b"\r\n".join([data.draw(LINES), *lines, b"", data.draw(BODIES)])
    limits = HttpLimits(max_bytes=4_000_000, min_seconds=0)
    with (
        MisbehavingServer(raw(answer)) as server,
        closing(HttpSession(server.url, limits=limits)) as http,
    ):
        generate(vendor, http)
