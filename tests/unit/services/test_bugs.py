"""A bug at any call between the admission of a job and its answer: the job ends, paid once."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from sd3.domain.billing import ChargeOutcome
from sd3.domain.client import RequestContext
from sd3.domain.request import GenerateRequest
from sd3.errors import Sd3Error, StorageError
from tests.support.fakes.ports import sample_image
from tests.support.fakes.unreliable_world import Bug, World

Fault = Callable[[], Exception]
FAULTS = pytest.mark.parametrize("fault", [Bug, lambda: StorageError("out of order")])


class FaultAt:
    """Raises a fault at one of the calls to the ports, which are counted from 1."""

    def __init__(self, number: int, fault: Fault) -> None:
        self.number, self.fault, self.calls = number, fault, 0

    def __call__(self, *, fault: bool = True) -> None:
        self.calls += 1
        error = self.fault()
        if self.calls == self.number and (fault or isinstance(error, Bug)):
            raise error

    @property
    def was_reached(self) -> bool:
        return self.calls >= self.number


def worlds(fault: Fault) -> Iterator[tuple[World, FaultAt]]:
    """Make a world for each call that can fail, until a fault is no longer reached."""
    for number in count(1):
        happen = FaultAt(number, fault)
        world = World(happen, lambda: None)
        world.acting.append("job-1")  # to whom the calls to the upstream count
        yield world, happen
        if not happen.was_reached:
            assert number > 10, "some calls are made"
            return


def submit(world: World, *, queued: bool) -> Exception | None:
    request = GenerateRequest(prompt="a fox").model_copy(update={"init_image": sample_image()})
    context = RequestContext("ann", "job-1", seconds=120, respond_async=queued)
    try:
        world.service.generate(request, context)
    except (Sd3Error, Bug) as error:
        return error
    return None


def work_until_the_end(world: World) -> None:
    """Deliver what is in the queue until nothing is."""
    for _ in range(20):
        if not world.messages:
            return
        message = min(world.messages, key=lambda one: one.visible_at)
        world.clock.slept = max(world.clock.slept, message.visible_at)
        world.deliver(message)
    raise AssertionError("A message stays in the queue.")


@FAULTS
@pytest.mark.parametrize("queued", [False, True])
def test_a_job_ends_and_its_client_is_told_its_id(fault: Fault, *, queued: bool) -> None:
    for world, happen in worlds(fault):
        error = submit(world, queued=queued)
        if error and "job-1" in world.jobs.items:
            assert isinstance(error, Sd3Error)
            assert error.job_id == "job-1", happen.number
        work_until_the_end(world)
        for job in world.jobs.items.values():
            assert job.status.is_terminal, happen.number
        assert world.jobs.ledger == world.jobs.sums()


@FAULTS
def test_what_is_paid_is_on_the_job(fault: Fault) -> None:
    for world, happen in worlds(fault):
        submit(world, queued=False)
        work_until_the_end(world)
        for job in world.jobs.items.values():
            charges = [one for one in job.charges if one.outcome is not ChargeOutcome.FREE]
            assert len(charges) >= world.upstream.paid["job-1"], happen.number


@pytest.mark.parametrize("queued", [False, True])
def test_a_bug_is_paid_once(*, queued: bool) -> None:
    for world, happen in worlds(Bug):
        submit(world, queued=queued)
        work_until_the_end(world)
        assert world.upstream.paid["job-1"] <= 1, happen.number
