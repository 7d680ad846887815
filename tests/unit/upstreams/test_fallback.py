"""Several upstreams in their order: which one is called next, and which never is."""

from collections.abc import Sequence
from typing import Any

import pytest

from sd3.domain.billing import Charge, ChargeOutcome, Quote
from sd3.domain.generation import GeneratedImage, GenerationResult
from sd3.domain.job import JobError, Reproduction
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    InvalidRequestError,
    Sd3Error,
    StorageError,
    UpstreamError,
    UpstreamFailedError,
    UpstreamKeyError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamResponseError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
    UpstreamUnchargedError,
)
from sd3.settings import UpstreamSettings
from sd3.upstreams.dispatch import RateLimitedUpstream
from sd3.upstreams.fallback import Fallback
from tests.support.factories.http_caller import FakeTime
from tests.support.factories.tasks import make_task
from tests.support.fakes.ports import UnlimitedRateLimiter, sample_image
from tests.support.fakes.scripted_upstream import Script, ScriptedRateLimiter, ScriptedUpstream

CHARGED, UNKNOWN, FREE = ChargeOutcome.CHARGED, ChargeOutcome.UNKNOWN, ChargeOutcome.FREE
BUSY = UpstreamUnavailableError("busy")


class Chain:
    """Upstreams in their order, each behind its own limiter, on a clock that does not wait."""

    def __init__(
        self,
        *upstreams: ScriptedUpstream,
        limiters: Sequence[UnlimitedRateLimiter | ScriptedRateLimiter] = (),
        prices: Sequence[int | None] = (),
    ) -> None:
        self.time = FakeTime()
        self.upstreams = upstreams
        members = [
            self._member(
                upstream,
                limiters[index] if index < len(limiters) else UnlimitedRateLimiter(),
                prices[index] if index < len(prices) else None,
            )
            for index, upstream in enumerate(upstreams)
        ]
        self.fallback = Fallback(make_members=lambda: members)

    def _member(
        self,
        upstream: ScriptedUpstream,
        limiter: UnlimitedRateLimiter | ScriptedRateLimiter,
        price: int | None,
    ) -> RateLimitedUpstream:
        return RateLimitedUpstream(
            settings=UpstreamSettings(name=upstream.name, price_micros=price),
            make=lambda: upstream,
            make_limiter=lambda _: limiter,
            clock=self.time.clock,
            sleep=self.time.sleep,
            jitter=lambda: 0.5,
        )

    def generate(self, **options: Any) -> GenerationResult:
        return self.fallback.generate(make_task(deadline=self.time.now + 60, **options))

    @property
    def calls(self) -> list[list[int]]:
        """Return the seeds that each upstream was called with, one call for one image."""
        return [sorted(call[0] for call in upstream.calls) for upstream in self.upstreams]


def failing(error: Sd3Error, name: str = "first", **options: Any) -> ScriptedUpstream:
    return ScriptedUpstream(name, always=error, **options)


def second(script: Script | None = None, **options: Any) -> ScriptedUpstream:
    return ScriptedUpstream("second", script=script, **options)


def test_the_first_upstream_generates_and_the_others_are_not_called() -> None:
    chain = Chain(ScriptedUpstream("first", ignored=("steps",)), second(ignored=("cfg_scale",)))
    result = chain.generate(seeds=[7, 8])
    assert result == GenerationResult(
        images=tuple(GeneratedImage(seed, sample_image(), upstream="first") for seed in (7, 8)),
        prediction_time_ms=1234.5,
        charges=(Charge(upstream="first", outcome=CHARGED, micros=2000),),
        ignored=("steps",),
    )
    assert chain.calls == [[7, 8], []]


@pytest.mark.parametrize(
    "error",
    [
        UpstreamUnavailableError("down"),
        UpstreamThrottledError("busy"),
        UpstreamRateLimitedError("held back"),
        UpstreamRefusedError("no credit"),
        UpstreamKeyError("no key"),
        UpstreamUnchargedError("broken, and free"),
        StorageError("no key"),
        InvalidRequestError([], message="not decoded"),
    ],
)
def test_a_failure_without_charge_goes_to_the_next_upstream_at_once(error: Sd3Error) -> None:
    chain = Chain(failing(error, ignored=("steps",)), second(ignored=("cfg_scale",)))
    result = chain.generate()
    assert result.images == (GeneratedImage(7, sample_image(), upstream="second"),)
    assert result.error is None
    assert result.ignored == ("cfg_scale",)
    assert result.charges == (
        Charge(upstream="first", outcome=FREE, micros=0),
        Charge(upstream="second", outcome=CHARGED, micros=1000),
    )
    assert chain.calls == [[7], [7]]
    assert chain.time.slept == []


@pytest.mark.parametrize(
    "error",
    [UpstreamTimeoutError("slow"), UpstreamFailedError("broken"), UpstreamResponseError("cut off")],
)
def test_a_failure_that_may_be_charged_never_goes_to_the_next_upstream(
    error: UpstreamError,
) -> None:
    chain = Chain(failing(error), second())
    result = chain.generate()
    assert result == GenerationResult(
        charges=(Charge(upstream="first", outcome=UNKNOWN, micros=1000),), error=error
    )
    assert chain.calls == [[7], []]


def test_no_to_a_prompt_is_everybodys() -> None:
    error = ContentPolicyError("no")
    chain = Chain(failing(error), second())
    assert chain.generate() == GenerationResult(
        charges=(Charge(upstream="first", outcome=FREE, micros=0),), error=error
    )
    assert chain.calls == [[7], []]


def test_filtered_image_is_final() -> None:
    chain = Chain(ScriptedUpstream("first", removed=[7]), second())
    result = chain.generate()
    assert result.images == (GeneratedImage(7, None, upstream="first"),)
    assert result.error is None
    assert chain.calls == [[7], []]


def test_last_upstream_is_tried_again_and_the_others_once() -> None:
    chain = Chain(failing(BUSY), failing(BUSY, "second"))
    assert chain.generate().error is BUSY
    assert chain.calls == [[7], [7, 7, 7]]
    assert chain.time.slept == [0.5, 1.0]


def test_only_one_upstream_is_the_last() -> None:
    chain = Chain(ScriptedUpstream("only", script={7: [BUSY, BUSY]}))
    assert chain.generate().error is None
    assert chain.calls == [[7, 7, 7]]


def test_held_back_upstream_is_passed_over_without_a_charge() -> None:
    closed = ScriptedRateLimiter(error=UpstreamRateLimitedError("full"))
    chain = Chain(ScriptedUpstream("first"), second(), limiters=[closed])
    result = chain.generate(seeds=[7, 8])
    assert result.charges == (Charge(upstream="second", outcome=CHARGED, micros=2000),)
    assert chain.calls == [[], [7, 8]]


def test_each_image_is_handed_over_by_itself() -> None:
    script: Script = {
        8: [UpstreamRefusedError("no")],
        9: [UpstreamTimeoutError("slow")],
        10: [ContentPolicyError("no")],
        11: [BUSY],
    }
    chain = Chain(
        ScriptedUpstream("first", script=script, ignored=("steps",)),
        second({11: [BUSY] * 3}, ignored=("steps", "cfg_scale"), milliseconds=2000, micros=10),
    )
    result = chain.generate(seeds=[7, 8, 9, 10, 11])
    assert chain.calls == [[7, 8, 9, 10, 11], [8, 11, 11, 11]]
    assert result.images == (
        GeneratedImage(7, sample_image(), upstream="first"),
        GeneratedImage(8, sample_image(), upstream="second"),
        GeneratedImage(9, None, error=JobError(code="upstream_error", message="slow")),
        GeneratedImage(10, None, error=JobError(code="content_policy", message="no")),
        GeneratedImage(11, None, error=JobError(code="upstream_unavailable", message="busy")),
    )
    assert result.charges == (
        Charge(upstream="first", outcome=CHARGED, micros=1000),
        Charge(upstream="first", outcome=UNKNOWN, micros=1000),
        Charge(upstream="second", outcome=CHARGED, micros=10),
    )
    assert result.ignored == ("steps", "cfg_scale")
    assert result.prediction_time_ms == 2000
    assert result.error is None


def test_ignored_fields_are_those_of_the_upstreams_that_generated() -> None:
    chain = Chain(failing(BUSY, ignored=("steps",)), second())
    assert chain.generate().ignored == ()


def test_three_upstreams_are_called_in_their_order() -> None:
    third = ScriptedUpstream("third")
    chain = Chain(failing(BUSY), failing(UpstreamKeyError("no key"), "second"), third)
    assert chain.generate(seeds=[7, 8]).images[1].upstream == "third"
    assert chain.calls == [[7, 8], [7, 8], [7, 8]]


@pytest.mark.parametrize(
    ("errors", "worst"),
    [
        ([BUSY, UpstreamRefusedError("no")], 0),
        ([UpstreamRefusedError("no"), UpstreamFailedError("broken")], 1),
        ([UpstreamFailedError("broken"), UpstreamTimeoutError("slow"), BUSY], 1),
        ([ContentPolicyError("no"), ContentPolicyError("no")], 0),
    ],
)
def test_of_several_errors_the_one_counts_that_decides_about_a_retry(
    errors: list[UpstreamError], worst: int
) -> None:
    script = {seed: [error] * 3 for seed, error in enumerate(errors, 7)}
    result = Chain(ScriptedUpstream("only", script=script)).generate(
        seeds=range(7, 7 + len(errors))
    )
    assert result.error is errors[worst]
    assert result.images == ()


def test_images_that_were_removed_are_no_reason_to_hide_an_error() -> None:
    upstream = ScriptedUpstream("only", script={8: [UpstreamTimeoutError("slow")]}, removed=[7])
    result = Chain(upstream).generate(seeds=[7, 8])
    assert isinstance(result.error, UpstreamTimeoutError)
    assert result.charges == (
        Charge(upstream="only", outcome=CHARGED, micros=1000),
        Charge(upstream="only", outcome=UNKNOWN, micros=1000),
    )


def test_upstream_that_can_never_generate_a_request_is_passed_over() -> None:
    chain = Chain(ScriptedUpstream("first", generates_from_images=False), second())
    result = chain.generate(init_image=sample_image())
    assert result.charges == (Charge(upstream="second", outcome=CHARGED, micros=1000),)
    assert chain.calls == [[], [7]]
    assert chain.generate().images[0].upstream == "first"


def test_the_last_upstream_that_supports_the_request_is_retried() -> None:
    chain = Chain(failing(BUSY), ScriptedUpstream("second", generates_from_images=False))
    chain.generate(init_image=sample_image())
    assert chain.calls == [[7, 7, 7], []]


def test_a_request_that_no_upstream_supports_any_more_is_rejected() -> None:
    chain = Chain(ScriptedUpstream("first", field_error="steps"))
    result = chain.generate()
    assert isinstance(result.error, UpstreamRefusedError)
    assert (result.charges, result.images) == ((), ())


def test_a_request_is_rejected_only_if_no_upstream_supports_it() -> None:
    request = GenerateRequest(prompt="a fox", init_image=None)
    Chain(ScriptedUpstream("first", field_error="steps"), second()).fallback.check(
        request, seconds=285
    )
    with pytest.raises(InvalidRequestError) as caught:
        Chain(
            ScriptedUpstream("first", field_error="steps"), second(field_error="cfg_scale")
        ).fallback.check(request, seconds=285)
    assert caught.value.field_errors == ((("body", "steps"), "not first's", "upstream"),)


def test_a_reproduction_is_for_its_upstream_alone_however_busy_that_is() -> None:
    chain = Chain(
        ScriptedUpstream("first", micros=5000), failing(BUSY, "second", model="v1", micros=10)
    )
    reproduction = Reproduction(job_id="old", upstream="second", model="v1")
    only = chain.fallback.only(reproduction)
    task = make_task(deadline=chain.time.now + 60)
    assert only.quote(task.request, has_image=False) == Quote(upstream="second", micros=10)
    result = only.generate(task)
    assert result.error is BUSY
    assert chain.calls == [[], [7, 7, 7]]
    assert chain.fallback.only(None) is chain.fallback


def test_init_image_is_checked_at_admission() -> None:
    request = GenerateRequest.model_construct(prompt="a fox", init_image=sample_image())
    text_only = ScriptedUpstream("first", generates_from_images=False)
    Chain(text_only, second()).fallback.check(request, seconds=285)
    with pytest.raises(InvalidRequestError):
        Chain(text_only).fallback.check(request, seconds=285)


def test_quote_is_the_dearest_upstream_that_can_for_every_image() -> None:
    upstreams = (
        ScriptedUpstream("cheap", micros=10),
        ScriptedUpstream("dear", micros=30, generates_from_images=False),
        ScriptedUpstream("middle", micros=20),
    )
    request = GenerateRequest(prompt="a fox", num_images=4)
    fallback = Chain(*upstreams).fallback
    assert fallback.quote(request, has_image=False) == Quote(upstream="dear", micros=120)
    assert fallback.quote(request, has_image=True) == Quote(upstream="middle", micros=80)
    priced = Chain(*upstreams, prices=[50]).fallback
    assert priced.quote(request, has_image=False) == Quote(upstream="cheap", micros=200)


def test_a_request_that_no_upstream_supports_still_has_a_quote() -> None:
    fallback = Chain(ScriptedUpstream("only", micros=10, field_error="steps")).fallback
    request = GenerateRequest(prompt="a fox")
    assert fallback.quote(request, has_image=False) == Quote(upstream="only", micros=10)


def test_upstreams_are_created_once_at_their_first_use() -> None:
    created: list[str] = []

    def make() -> list[RateLimitedUpstream]:
        created.append("members")
        return list(Chain(ScriptedUpstream()).fallback.members)

    fallback = Fallback(make_members=make)
    assert created == []
    for _ in range(2):
        fallback.check(GenerateRequest(prompt="a fox"), seconds=285)
    assert created == ["members"]


def test_a_request_that_takes_longer_than_a_worker_lives_is_rejected() -> None:
    """16 images of 200 steps, at 0.1 s a step, take 320 s."""
    slow, fast = UnlimitedRateLimiter(), UnlimitedRateLimiter()
    slow.note_step(0.1, is_least=True)
    long = GenerateRequest(prompt="a fox", num_images=16, steps=200)

    def upstreams() -> tuple[ScriptedUpstream, ...]:
        return ScriptedUpstream("slow", images_per_call=16), second(images_per_call=16)

    with pytest.raises(InvalidRequestError, match="num_images") as caught:
        Chain(*upstreams(), limiters=[slow, slow]).fallback.check(long, seconds=285)
    assert caught.value.field_errors[0].type == "too_long"
    accepted = [
        (long, 321.0, [slow, slow]),
        (long, 285.0, [slow, fast]),
        (GenerateRequest(prompt="a fox", num_images=14, steps=200), 285.0, [slow, slow]),
        (GenerateRequest(prompt="a fox", num_images=16, steps=30), 1.0, [slow, slow]),
    ]
    for request, seconds, limiters in accepted:
        Chain(*upstreams(), limiters=limiters).fallback.check(request, seconds=seconds)


def test_a_time_for_steps_says_nothing_about_an_upstream_that_ignores_them() -> None:
    slow = UnlimitedRateLimiter()
    slow.note_step(1, is_least=False)
    upstream = ScriptedUpstream("vendor", images_per_call=16, ignored=("steps",))
    long = GenerateRequest(prompt="a fox", num_images=16, steps=200)
    Chain(upstream, limiters=[slow]).fallback.check(long, seconds=285)
