"""Processes of Lambda in virtual time: what they share, how they die, and what follows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest

from benchmarks.environments import (
    SKEW_SECONDS,
    Cloud,
    Environment,
    Function,
    InvocationError,
    in_virtual_time,
)
from benchmarks.virtual_time import VirtualTime
from functions.worker import app
from sd3 import bootstrap
from sd3.errors import StorageError, UnexpectedError
from sd3.settings import Settings

EPOCH = datetime(2026, 11, 27, tzinfo=UTC)


class Service:
    """A service that takes a second, and counts its calls."""

    def __init__(self, time: VirtualTime) -> None:
        self.time, self.calls = time, 0

    def act(self) -> int:
        self.calls += 1
        self.time.sleep(1)
        return self.calls


class World:
    """A worker's processes with one service."""

    def __init__(self, *, deaths: float = 0.0) -> None:
        self.time = VirtualTime()
        self.service = Service(self.time)
        services = {"dynamodb": self.service, "sqs": self.service}
        self.cloud = Cloud(self.time, Random(1), EPOCH, services, self._replacements, deaths=deaths)  # noqa: S311 - nothing secret
        self.worker = Function(self.cloud, "worker")
        self.results: list[Any] = []

    def call(self, use: Callable[[Environment], Any], *, at: float = 0.0) -> None:
        def invoke() -> None:
            try:
                self.results.append(self.worker.call(use))
            except (InvocationError, StorageError, LookupError) as error:
                self.results.append(type(error))

        self.time.start(invoke, after=at)

    def run(self) -> list[Any]:
        with in_virtual_time(self.cloud, [self.worker]):
            self.time.run()
        return self.results

    def _replacements(self, _: Environment) -> Mapping[str, Callable[[], Any]]:
        return {"_settings": lambda: Settings(queue_url="queue"), "_images": lambda: "images"}


def _slept(process: Environment, seconds: float) -> Environment:
    process.sleep(seconds)
    return process


def test_a_free_process_is_used_again_and_a_busy_one_is_not() -> None:
    world = World()
    for at in (0, 0.5, 3):
        world.call(lambda process: (process.aws.sqs.act(), process)[1], at=at)
    first, second, third = world.run()
    assert first is not second
    assert third in (first, second)
    assert world.cloud.counts["processes"] == 2


def test_each_process_builds_its_own_and_keeps_it() -> None:
    world = World()
    for at in (0, 0.5, 3):
        world.call(lambda process: (process.aws.sqs.act(), process.bootstrap.queue())[1], at=at)
    first, second, third = world.run()
    assert first is not second
    assert third in (first, second)


def test_a_function_is_given_what_its_process_has_built() -> None:
    world = World()
    world.call(lambda process: (vars(app)["queue"](), process.bootstrap.queue()))
    [(given, own)] = world.run()
    assert given is own
    assert vars(app)["queue"] is bootstrap.queue, "afterwards as before"


def test_a_process_that_has_died_does_nothing_more_and_is_not_used_again() -> None:
    world = World(deaths=1.0)
    done: list[str] = []

    def use(process: Environment) -> None:
        try:
            process.aws.sqs.act()
        finally:
            done.append("cleanup begins")
            process.aws.sqs.act()
            done.append("never")

    world.call(use)
    world.call(use, at=10)
    assert world.run() == [InvocationError, InvocationError]
    assert world.service.calls == 0
    assert done == ["cleanup begins"] * 2
    assert world.cloud.counts["processes"] == world.cloud.counts["deaths"] == 2


def test_a_process_can_die_after_a_call_too() -> None:
    world = World(deaths=0.3)
    for at in range(50):
        world.call(lambda process: process.aws.sqs.act(), at=at * 10)
    results = world.run()
    assert world.service.calls > len([one for one in results if one is not InvocationError]) > 10


def test_a_process_that_dies_beside_its_main_part_has_died() -> None:
    world = World(deaths=1.0)

    def use(process: Environment) -> str:
        def beside() -> None:
            process.aws.sqs.act()

        try:
            world.time.gather([beside])
        except BaseException:  # noqa: BLE001 - what nobody should do
            return "done"
        return "not reached"

    world.call(use)
    assert world.run() == [InvocationError]


def test_an_invocation_ends_at_its_timeout() -> None:
    world = World()
    world.call(lambda process: process.sleep(world.worker.seconds + 100))
    world.call(lambda process: process.sleep(world.worker.seconds - 1))
    assert world.run() == [None, InvocationError]
    assert world.cloud.counts["timeouts"] == 1
    assert world.time.now < world.worker.seconds + 5


def test_a_process_says_how_long_it_still_has() -> None:
    world = World()
    world.call(lambda process: _slept(process, 100).get_remaining_time_in_millis())
    assert world.run() == [200_000]


def test_clocks_are_virtual_and_differ_a_little() -> None:
    world = World()
    for _ in range(2):
        world.call(lambda process: _slept(process, 50).clock.now())
    first, second = world.run()
    assert first != second
    for now in (first, second):
        assert abs((now - EPOCH).total_seconds() - 50) <= SKEW_SECONDS


@pytest.mark.parametrize(
    ("error", "bugs"),
    [(StorageError("lost"), 0), (LookupError("a bug"), 1)],
)
def test_what_nobody_expects_is_noted(error: Exception, bugs: int) -> None:
    world = World()

    def use(_: Environment) -> None:
        raise error

    world.call(use)
    assert world.run() == [type(error)]
    assert len(world.cloud.bugs) == bugs


def test_an_error_for_a_bug_is_a_bug() -> None:
    world = World()

    def use(_: Environment) -> None:
        raise UnexpectedError(LookupError())

    with pytest.raises(UnexpectedError):
        world.worker.call(use)
    assert len(world.cloud.bugs) == 1
