"""A request that names its init image by a URL: when it is fetched, and when it is not."""

from datetime import timedelta
from typing import Any, Final

import pytest

from sd3.domain.billing import UsageEntry
from sd3.domain.client import NO_LIMITS, ClientLimits
from sd3.domain.job import JobStatus
from sd3.domain.request import GenerateRequest, fingerprint_of
from sd3.errors import (
    BudgetExceededError,
    FieldError,
    IdempotencyMismatchError,
    InvalidRequestError,
    RateLimitedError,
    RequestError,
    UpstreamFailedError,
)
from tests.support.factories.images import jpeg, png
from tests.support.factories.submissions import World, caller, request
from tests.support.fakes.ports import (
    NOON,
    FakeCounts,
    FakeSource,
    FakeUpstream,
    make_service,
)

URL: Final = "https://images.example/cat.png?X-Signature=s3cret"


def from_url(**values: Any) -> GenerateRequest:
    return request(**{"init_image_url": URL, **values})


def world_with(data: bytes) -> World:
    world = World()
    world.source.images[URL] = data
    return world


def rejected(world: World, error: type[RequestError], who: Any = None, **values: Any) -> Any:
    """Return the error of a request, and check that nothing was changed."""
    with pytest.raises(error) as caught:
        world.submit(from_url(**values), who or caller(key=None))
    assert not any((world.jobs.items, world.jobs.keys, world.images.objects, world.queue.sent))
    assert "s3cret" not in str(caught.value)
    return caught.value


def test_an_image_is_fetched_once_and_kept_as_the_jobs_own() -> None:
    data = jpeg(200, 100)
    world = world_with(data)
    job = world.submit(from_url(), caller(key=None)).job
    assert world.images.objects[job.init_image_key or ""] == (data, "image/jpeg", 200, 100)
    assert (world.source.fetched, world.counts.uploads) == ([URL], {"ann": 1})


def test_the_url_is_not_stored_and_not_printed() -> None:
    job = world_with(png()).submit(from_url(), caller(key=None)).job
    assert "images.example" not in job.model_dump_json() + repr(job)


def test_a_request_is_generated_over_the_image_that_was_fetched() -> None:
    upstream, source = FakeUpstream(), FakeSource()
    source.images[URL] = png()
    service = make_service(upstream=upstream, source=source)
    response = service.generate(from_url(), caller(key=None)._replace(respond_async=False))
    (generated_over,) = upstream.init_images
    assert generated_over
    assert (generated_over.data, response.status) == (png(), JobStatus.SUCCEEDED)


@pytest.mark.parametrize("key", [None, "key"])
def test_a_call_that_is_repeated_fetches_nothing(key: str | None) -> None:
    world = world_with(png())
    first = world.submit(from_url(), caller("job-1", key=key))
    world.source.images.clear()
    again = world.submit(from_url(), caller("job-2" if key else "job-1", key=key))
    assert (again.is_new, again.job.id) == (False, first.job.id)
    assert len(world.source.fetched) == 1


def test_a_held_call_that_is_repeated_fetches_nothing() -> None:
    world = world_with(png())
    held = caller(key=None)._replace(respond_async=False, hold_until=NOON + timedelta(seconds=26))
    first = world.submit(from_url(), held)
    world.clock.advance(27)
    later = NOON + timedelta(seconds=53)
    again = world.submit(from_url(), held._replace(job_id="job-2", hold_until=later))
    assert (again.is_new, again.job.id) == (False, first.job.id)
    assert len(world.source.fetched) == 1


def test_a_fetch_takes_no_longer_than_its_function_lives() -> None:
    world = world_with(png())
    world.source.seconds = 2.5
    assert world.submit(from_url(), caller(key=None)._replace(seconds=2.5)).is_new


def test_a_key_with_another_url_is_a_mismatch_and_fetches_nothing() -> None:
    world = world_with(png())
    world.submit(from_url(), caller("job-1"))
    with pytest.raises(IdempotencyMismatchError):
        world.submit(from_url(init_image_url="https://images.example/dog.png"), caller("job-2"))
    assert len(world.source.fetched) == 1


def test_a_key_that_is_free_again_fetches_again() -> None:
    world = world_with(png())
    world.submit(from_url(), caller("job-1"))
    world.fail("job-1", UpstreamFailedError.code)
    assert world.submit(from_url(), caller("job-2")).is_new
    assert len(world.source.fetched) == 2


def test_a_fingerprint_is_of_the_url() -> None:
    fetched = from_url().model_copy(update={"init_image": png()})
    others = [from_url(), request(), from_url(init_image_url=f"{URL}2")]
    assert fingerprint_of(fetched) == fingerprint_of(from_url())
    assert len({fingerprint_of(one) for one in others}) == 3


def test_a_client_over_its_budget_has_nothing_fetched() -> None:
    world = world_with(png())
    world.jobs.ledger["ann", NOON.date().isoformat()] = UsageEntry(spent=80_000)
    limits = ClientLimits(daily_budget_micros=100_000)
    rejected(world, BudgetExceededError, caller(key=None)._replace(limits=limits))
    assert world.source.fetched == []


def test_a_client_over_its_rate_has_nothing_fetched() -> None:
    world = world_with(png())
    world.counts = FakeCounts(error=RateLimitedError("slow down", retry_after=7))
    rejected(world, RateLimitedError)
    assert world.source.fetched == []


def test_what_no_upstream_can_generate_is_not_fetched() -> None:
    class TextOnly(FakeUpstream):
        def unsupported(self, _request: Any, *, has_image: bool) -> list[FieldError]:
            return [FieldError(("body", "init_image"), "not here", "x")] if has_image else []

    world = world_with(png())
    world.upstream = TextOnly()
    rejected(world, InvalidRequestError)
    assert world.source.fetched == []


@pytest.mark.parametrize(
    ("data", "field_error"),
    [
        (None, FieldError(("body", "init_image_url"), "its server answered 404", "url")),
        (b"", FieldError(("body", "init_image_url"), "the image is empty", "picture")),
        (png()[:-20], FieldError(("body", "init_image_url"), "the image is cut off", "picture")),
    ],
)
def test_what_is_no_image_is_an_error_of_its_field(
    data: bytes | None, field_error: FieldError
) -> None:
    world = World() if data is None else world_with(data)
    (found,) = rejected(world, InvalidRequestError).field_errors
    assert (found.loc, found.type) == (field_error.loc, field_error.type)
    assert field_error.msg in found.msg


@pytest.mark.parametrize(
    "url", ["https://127.0.0.1/", "http://localhost:8000/", "https://localhost/"]
)
def test_this_machine_is_an_error_by_its_name(url: str) -> None:
    error = rejected(World(), InvalidRequestError, init_image_url=url)
    assert [one.msg for one in error.field_errors] == ["its host is not a public address"]


def test_a_url_of_a_wrong_form_is_found_with_all_other_errors() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        request(steps=0, init_image_url="https://10.0.0.1/", init_image_id="f" * 32)
    assert {one.loc[1] for one in caught.value.field_errors} == {"steps", "init_image_url"}


def test_a_request_has_one_init_image() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        from_url(init_image_id="f" * 32)
    (error,) = caught.value.field_errors
    assert (error.loc[1], error.msg) == ("init_image_url", "not together with init_image_id")


def test_a_dry_run_prices_an_image_and_fetches_nothing() -> None:
    class Dearer(FakeUpstream):
        def unsupported(self, _request: Any, *, has_image: bool) -> list[FieldError]:
            assert has_image
            return []

    source, counts = FakeSource(), FakeCounts()
    service = make_service(upstream=Dearer(), source=source)
    quote = service.quote(from_url(), client_id="ann", limits=NO_LIMITS)
    assert (quote.cost_usd, source.fetched, counts.uploads) == (0.03, [], {})
    with pytest.raises(InvalidRequestError):
        service.quote(
            from_url(init_image_url="https://127.0.0.1/"), client_id="ann", limits=NO_LIMITS
        )
