"""The bounds on requests at once and on requests per minute."""

from contextlib import ExitStack

import pytest

from model_server.server.limiter import Admission, BusyError


class Clock:
    """A clock that a test sets."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_beyond_the_bound_there_is_no_place_until_one_is_left() -> None:
    admission = Admission(max_concurrent=2, per_minute=0, clock=Clock())
    with ExitStack() as places:
        places.enter_context(admission.place())
        places.enter_context(admission.place())
        with pytest.raises(BusyError) as caught, admission.place():
            pytest.fail("let in")
        assert caught.value.retry_after == 1
    with admission.place():
        pass


def test_a_place_is_left_when_the_drawing_fails() -> None:
    admission = Admission(max_concurrent=1, per_minute=0, clock=Clock())
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), admission.place():
            raise ZeroDivisionError


def test_a_minutes_requests_are_counted_and_the_wait_is_told() -> None:
    clock = Clock()
    admission = Admission(max_concurrent=1, per_minute=2, clock=clock)
    for _ in range(2):
        with admission.place():
            pass
        clock.now += 10
    with pytest.raises(BusyError) as caught, admission.place():
        pytest.fail("let in")
    assert caught.value.retry_after == 40
    clock.now += caught.value.retry_after
    with admission.place():
        pass
