"""What holds for every upstream, against a server that follows its vendor's documents."""

from collections.abc import Iterator
from io import BytesIO
from operator import attrgetter

import pytest
from PIL import Image as PillowImage

from sd3.domain.billing import ChargeOutcome
from sd3.domain.generation import GeneratedImage
from sd3.domain.image import read_image
from sd3.domain.request import MAX_SEED, GenerateRequest
from sd3.domain.request_checks import SIZES
from sd3.errors import (
    Sd3Error,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.http.session import HttpSession
from sd3.upstreams import UPSTREAMS
from sd3.upstreams.dispatch import Result
from tests.support.factories.http_caller import FakeKey
from tests.support.factories.images import BLUE, RED, SECRET, jpeg, phone_photo
from tests.support.servers.scripted_server import silent
from tests.support.servers.vendor_client import PROMPT, Face
from tests.support.servers.vendors import images
from tests.support.servers.vendors.all_vendors import VENDORS, Vendor
from tests.support.servers.vendors.server import (
    KEY,
    TEXT,
    VendorServer,
    cut_off,
    endless,
    html,
    hung_up,
    redirect,
)

ALL_SIXTEEN = tuple(range(MAX_SEED - 20, MAX_SEED - 4))


NAMES = attrgetter("name")
filtering = pytest.mark.parametrize(
    "vendor", [vendor for vendor in VENDORS if vendor.filters], indirect=True, ids=NAMES
)
result_from_images = pytest.mark.parametrize(
    "vendor",
    [vendor for vendor in VENDORS if vendor.generates_from_images],
    indirect=True,
    ids=NAMES,
)


@pytest.fixture(params=VENDORS, ids=NAMES)
def vendor(request: pytest.FixtureRequest) -> Vendor:
    """Provide each upstream in turn."""
    chosen: Vendor = request.param
    return chosen


@pytest.fixture
def server(vendor: Vendor) -> Iterator[VendorServer]:
    """Provide the server of the vendor."""
    with vendor.serve() as started:
        yield started


def generated(result: Result) -> GeneratedImage:
    assert isinstance(result, GeneratedImage), result
    return result


def error(result: Result) -> Sd3Error:
    assert isinstance(result, Sd3Error), result
    assert not any(secret in str(result) for secret in (KEY, PROMPT, TEXT))
    return result


def test_every_upstream_is_here() -> None:
    assert [vendor.name for vendor in VENDORS] == list(UPSTREAMS)
    assert all(vendor.errors.keys() == vendor.replies.keys() for vendor in VENDORS)


@pytest.mark.parametrize("seeds", [(7,), ALL_SIXTEEN], ids=["one", "sixteen"])
@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_images_are_generated_from_a_text_in_order(
    face: Face, vendor: Vendor, server: VendorServer, seeds: tuple[int, ...], kind: str
) -> None:
    facing = face(vendor, server.url)
    results = facing.generate(seeds=seeds, image_encoding=kind)
    assert [generated(result).seed for result in results] == list(seeds)
    assert {generated(result).upstream for result in results} == {vendor.name}
    assert [generated(result).image for result in results] == [
        read_image(images.generated(seed, kind=kind)) for seed in seeds
    ]
    assert {call.fields["prompt"] for call in server.calls} == {PROMPT}
    assert len(server.requests) == max(1, len(seeds) // facing.upstream.images_per_call)


def test_the_same_seed_generates_the_same_image_again(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    facing = face(vendor, server.url)
    (first,) = facing.generate(seeds=[MAX_SEED])
    (again,) = facing.generate(seeds=[MAX_SEED])
    (by_its_own,) = facing.generate(seeds=[generated(first).seed])
    assert generated(first) == generated(again) == generated(by_its_own)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_every_size_is_generated_and_the_real_one_is_recorded(
    face: Face, vendor: Vendor, server: VendorServer, width: int, height: int
) -> None:
    (result,) = face(vendor, server.url).generate(width=width, height=height)
    image = generated(result).image
    assert image
    assert images.size_of(image.data) == (image.width, image.height)
    assert image.width == pytest.approx(width, rel=0.06)
    assert image.height == pytest.approx(height, rel=0.06)


def test_init_image_that_cannot_be_generated_from_is_a_fault(vendor: Vendor) -> None:
    upstream = vendor.make("https://image.example", FakeKey(), HttpSession("https://image.example"))
    request = GenerateRequest(prompt=PROMPT)
    field_errors = [(one.loc, one.type) for one in upstream.unsupported(request, has_image=True)]
    assert field_errors == (
        [] if vendor.generates_from_images else [(("body", "init_image"), "upstream")]
    )
    assert upstream.unsupported(request, has_image=False) == ()


@result_from_images
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_image_from_an_init_image_has_the_requested_size(
    face: Face, vendor: Vendor, server: VendorServer, width: int, height: int
) -> None:
    options = {"strength": 0.25, "width": width, "height": height, "image_encoding": "png"}
    results = face(vendor, server.url).generate(
        init_image=read_image(jpeg(80, 100)), seeds=[7, 8], **options
    )
    assert [generated(result).image for result in results] == [
        read_image(images.generated(seed, width, height)) for seed in (7, 8)
    ]
    assert {float(call.fields["strength"]) for call in server.calls} == {0.25}
    assert all(call.image for call in server.calls)


@result_from_images
@pytest.mark.parametrize(
    ("kind", "size", "orientation", "requested"),
    [
        ("jpeg", (1024, 1024), 6, (1024, 1024)),
        ("jpeg", (1216, 832), 3, (1216, 832)),
        ("webp", (1216, 832), 3, (1216, 832)),
        ("mpo", (800, 600), 6, (1024, 1024)),
        ("png", (1024, 1024), 6, (1024, 1024)),
        ("jpeg", (1024, 1024), 1, (1024, 1024)),
        ("jpeg", (800, 600), 1, (1024, 1024)),
    ],
)
def test_an_init_image_leaves_upright_and_without_place_or_time(
    face: Face,
    vendor: Vendor,
    server: VendorServer,
    kind: str,
    size: tuple[int, int],
    orientation: int,
    requested: tuple[int, int],
) -> None:
    data = phone_photo(size, kind=kind, orientation=orientation)
    assert SECRET.encode() in data
    width, height = requested
    face(vendor, server.url).generate(init_image=read_image(data), width=width, height=height)
    sent = server.calls[-1].image
    assert sent
    assert not any(secret in sent for secret in (SECRET.encode(), b"Exif", b"http://ns.adobe.com"))
    image = PillowImage.open(BytesIO(sent)).convert("RGB")
    left, right, down = (9, 9), (image.width - 9, 9), (9, image.height - 9)
    expected = {
        1: {left: RED, right: BLUE, down: RED},
        3: {left: BLUE, right: RED, down: BLUE},
        6: {left: RED, right: RED, down: BLUE},
    }[orientation]
    for at, color in expected.items():
        assert image.getpixel(at) == pytest.approx(color, abs=4)


@filtering
def test_a_filtered_image_is_marked_and_the_others_are_returned(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    server.filter(8)
    facing = face(vendor, server.url)
    results = list(map(generated, facing.generate(seeds=[7, 8, 9])))
    assert [result.seed for result in results] == [7, 8, 9]
    assert [result.image is None for result in results] == [False, True, False]


@filtering
def test_images_that_are_all_filtered_are_no_error_and_are_paid(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    server.filter(7, 8)
    facing = face(vendor, server.url)
    calls = facing.calls(seeds=[7, 8])
    assert [generated(result).image for result in calls.results.values()] == [None, None]
    request = GenerateRequest(prompt=PROMPT)
    (charge,) = facing.limited.charges(calls, request)
    assert charge.outcome is ChargeOutcome.CHARGED
    assert charge.micros == 2 * facing.upstream.price(request)


def test_every_documented_error_has_its_class_and_is_not_retried(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    facing = face(vendor, server.url)
    for name, reply in vendor.replies.items():
        server.requests.clear()
        server.set_every_reply(reply)
        (result,) = facing.generate()
        assert type(error(result)) is vendor.errors[name], name
        assert len(server.requests) == 1


def test_slow_upstream_is_a_timeout_of_unknown_outcome(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    server.set_replies(silent)
    facing = face(vendor, server.url)
    calls = facing.calls(seconds=0.3)
    assert type(error(calls.results[0])) is UpstreamTimeoutError
    (charge,) = facing.limited.charges(calls, GenerateRequest(prompt=PROMPT))
    assert charge.outcome is ChargeOutcome.UNKNOWN


def test_lost_connection_is_a_failure_of_unknown_outcome(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    server.set_replies(hung_up)
    (result,) = face(vendor, server.url).generate()
    assert type(error(result)) is UpstreamFailedError


def test_a_truncated_response_is_a_lost_connection(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    facing = face(vendor, server.url)
    facing.generate()
    server.set_replies(cut_off(server.generate(server.calls[0])))
    (result,) = facing.generate()
    assert type(error(result)) is UpstreamFailedError


@pytest.mark.parametrize("says_so", [True, False])
def test_a_response_of_200_megabytes_is_bounded(
    face: Face, vendor: Vendor, server: VendorServer, *, says_so: bool
) -> None:
    server.set_replies(endless(200, says_so=says_so))
    (result,) = face(vendor, server.url).generate()
    assert type(error(result)) is UpstreamResponseError
    assert "more than 4000000 bytes" in error(result).message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, UpstreamResponseError),
        (404, UpstreamRefusedError),
        (429, UpstreamThrottledError),
        (502, UpstreamFailedError),
        (503, UpstreamUnavailableError),
        (500, UpstreamFailedError),
    ],
)
def test_html_is_judged_by_its_status(
    face: Face, vendor: Vendor, server: VendorServer, status: int, kind: type[Sd3Error]
) -> None:
    server.set_replies(html(status))
    (result,) = face(vendor, server.url).generate()
    assert type(error(result)) is kind
    assert "nginx" not in error(result).message


def test_redirect_is_not_followed(face: Face, vendor: Vendor, server: VendorServer) -> None:
    with vendor.serve() as other:
        server.set_replies(redirect(other.url + "/elsewhere"))
        (result,) = face(vendor, server.url).generate()
        assert type(error(result)) is UpstreamRefusedError
        assert other.connections == 0


def test_rejected_key_is_renewed_once(face: Face, vendor: Vendor, server: VendorServer) -> None:
    key = FakeKey("sk-of-last-year", KEY)
    (result,) = face(vendor, server.url, key=key).generate()
    if vendor.renews_its_key:
        assert generated(result).image
        assert (key.rejected, len(server.requests)) == (["sk-of-last-year"], 2)
    else:
        assert type(error(result)) is UpstreamKeyError


def test_an_unknown_key_is_an_error(face: Face, vendor: Vendor, server: VendorServer) -> None:
    (result,) = face(vendor, server.url, key=FakeKey("sk-unknown")).generate()
    assert type(error(result)) is UpstreamKeyError


def test_two_of_four_fail_and_the_others_are_generated(
    face: Face, vendor: Vendor, server: VendorServer
) -> None:
    facing = face(vendor, server.url)
    server.set_replies(html(502), seed=8)
    server.set_replies(html(404), seed=10)
    results = facing.generate(seeds=[7, 8, 9, 10])
    if facing.upstream.images_per_call == 1:
        assert [isinstance(result, GeneratedImage) for result in results] == [True, False] * 2
        assert [type(results[1]), type(results[3])] == [UpstreamFailedError, UpstreamRefusedError]
    else:
        assert all(isinstance(result, GeneratedImage) for result in results)
