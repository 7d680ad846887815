"""The limits on requests at once and on requests per minute."""

from contextlib import ExitStack

import pytest

from model_server.server.limiter import RequestLimiter, TooManyRequestsError


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_beyond_the_limit_a_request_gets_a_slot_only_when_another_has_ended() -> None:
    limiter = RequestLimiter(max_concurrent=2, per_minute=0, clock=Clock())
    with ExitStack() as slots:
        slots.enter_context(limiter.slot())
        slots.enter_context(limiter.slot())
        with pytest.raises(TooManyRequestsError) as caught, limiter.slot():
            pytest.fail("a third slot")
        assert caught.value.retry_after == 1
    with limiter.slot():
        pass


def test_a_request_that_fails_releases_its_slot() -> None:
    limiter = RequestLimiter(max_concurrent=1, per_minute=0, clock=Clock())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), limiter.slot():
            raise ZeroDivisionError


def test_a_request_over_the_limit_per_minute_has_the_wait_in_its_error() -> None:
    clock = Clock()
    limiter = RequestLimiter(max_concurrent=1, per_minute=2, clock=clock)
    for _ in range(2):
        with limiter.slot():
            pass
        clock.now += 10
    with pytest.raises(TooManyRequestsError) as caught, limiter.slot():
        pytest.fail("a third request")
    assert caught.value.retry_after == 40
    clock.now += caught.value.retry_after
    with limiter.slot():
        pass
