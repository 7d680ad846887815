"""Whatever happens, and in whatever order: a job ends once, and its charges are those of its calls.

And the ledger has what the jobs say, at every step; no budget is exceeded by what is admitted.
"""

from collections.abc import Container
from typing import Any, Final

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sd3.domain.billing import ChargeOutcome
from sd3.domain.client import NO_LIMITS, ClientLimits, RequestContext
from sd3.domain.job import Job, JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    StorageError,
    UpstreamFailedError,
    UpstreamResponseError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from tests.support.fakes.ports import sample_image
from tests.support.fakes.unreliable_world import Bug, Crash, World

DEPTH: Final = 3
"""How many use cases can be under way at once, each in the midst of the one before."""
DELIVERIES: Final = 25
"""Of one message, once nothing fails any more."""

FAILURES: Final = (
    lambda: None,
    lambda: UpstreamUnavailableError("busy", retry_after=20),
    lambda: UpstreamTimeoutError("slow"),
    lambda: UpstreamFailedError("500"),
    lambda: UpstreamResponseError("cut off"),
    lambda: ContentPolicyError("no"),
    lambda: StorageError("no secret"),
)
EVENTS: Final = st.sampled_from(
    ["nothing"] * 50
    + ["deliver", "cancel", "delete", "put back", "late", "fault", "bug", "crash", "give up"]
)
LIMITS: Final = st.builds(
    ClientLimits,
    daily_budget_micros=st.sampled_from([None, 60_000, 100_000]),  # an image takes 30 000
    requests_per_minute=st.sampled_from([None, 2]),
    max_images=st.none(),
)
SECONDS: Final = st.sampled_from([1, 30, 130, 400, 2000, 30_000])


class JobLife(RuleBasedStateMachine):
    """Clients, workers and accidents, also in the midst of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.happen, self.fails)
        self.data: Any = None
        """Hypothesis's source of the next fault; None when there are no more."""
        self.limits = NO_LIMITS
        self.ends_at: dict[str, float] = {}
        """When the function that makes a job is ended."""

    def fails(self) -> Any:
        """Choose the upstream's response to this call."""
        return self.data.draw(st.sampled_from(FAILURES))() if self.data else None

    def happen(self, *, fault: bool = True) -> None:
        """Have something happen between two calls of a use case."""
        if self.data is None or len(self.world.acting) > DEPTH:
            return
        event = self.data.draw(EVENTS)
        if event == "crash" or self.is_timed_out(self.world.acting[-1]):
            raise Crash
        if event == "fault" and fault:
            self.world.disturbed.add(self.world.acting[-1])
            raise StorageError("out of order")
        if event == "bug" and fault:
            self.world.disturbed.add(self.world.acting[-1])
            raise Bug
        if event == "late":
            self.world.disturbed.update(self.world.acting)
            self.world.clock.advance(self.data.draw(SECONDS))
        elif event in {"cancel", "delete"} and self.world.jobs.items:
            self.stop(event)
        elif event == "put back" and any(map(has_failed, self.world.jobs.items.values())):
            self.put_back()
        elif event in {"deliver", "give up"} and self.world.messages:
            self.receive(event)

    def stop(self, event: str) -> None:
        newest_first = st.sampled_from([*reversed(self.world.jobs.items)])
        job_id = self.data.draw(self.under_way(self.world.jobs.items) | newest_first)
        with self.world.during(job_id):
            ask = self.world.service.cancel if event == "cancel" else self.world.service.delete
            ask(job_id, client_id="ann")

    def put_back(self) -> None:
        failed = [job for job in self.world.jobs.items.values() if has_failed(job)]
        self.world.put_back(self.data.draw(st.sampled_from(failed)))

    def under_way(self, jobs: Container[str]) -> st.SearchStrategy[str]:
        """Choose among the jobs that other actors are changing."""
        job_ids = [job_id for job_id in self.world.acting if job_id in jobs]
        return st.sampled_from(job_ids) if job_ids else st.nothing()

    def receive(self, event: str) -> None:
        """Receive a message, possibly one that another worker has: SQS delivers at least once.

        A message that was sent with a delay is delivered to nobody before that.
        """
        now = self.world.clock.slept
        sent = [one for one in self.world.messages if one.receives or one.visible_at <= now]
        if not sent:
            return
        newest_first = sent[::-1]
        message = self.data.draw(st.just(newest_first[0]) | st.sampled_from(newest_first))
        if event == "deliver":
            self.world.deliver(message)
        elif self.world.clock.slept > message.sent_at + 200:  # not before many deliveries
            self.world.give_up(message)

    def is_timed_out(self, job_id: str) -> bool:
        """Return whether Lambda has ended the function that was to write this job."""
        late = self.world.clock.slept > self.ends_at[job_id]
        return late and job_id not in self.world.jobs.items

    @initialize(data=st.data(), queued=st.booleans(), limits=LIMITS)
    def submit_first(self, data: Any, queued: bool, limits: ClientLimits) -> None:
        self.limits = limits
        self.submit(data, queued=queued, init=False, key="-")

    @rule(data=st.data(), queued=st.booleans(), init=st.booleans(), key=st.sampled_from("-kl"))
    def submit(self, data: Any, *, queued: bool, init: bool, key: str) -> None:
        self.data = data
        job_id = f"job-{len(self.ends_at)}"
        self.ends_at[job_id] = self.world.clock.slept + 120
        request = GenerateRequest(prompt=f"a fox, {key}")
        request = request.model_copy(update={"init_image": sample_image() if init else None})
        context = RequestContext(
            "ann", job_id, seconds=120, respond_async=queued, limits=self.limits
        )
        if key != "-":
            context = context._replace(idempotency_key=key)
        with self.world.during(job_id):
            self.world.service.generate(request, context)

    @precondition(lambda self: self.world.messages)
    @rule(data=st.data(), event=st.sampled_from(["deliver"] * 5 + ["give up"]))
    def look(self, data: Any, event: str) -> None:
        self.data = data
        self.receive(event)

    @precondition(lambda self: self.world.jobs.items)
    @rule(data=st.data(), event=st.sampled_from(["cancel", "delete"]))
    def ask(self, data: Any, event: str) -> None:
        self.data = data
        self.stop(event)

    @precondition(lambda self: any(map(has_failed, self.world.jobs.items.values())))
    @rule(data=st.data())
    def redrive(self, data: Any) -> None:
        self.data = data
        self.put_back()

    @rule(seconds=SECONDS)
    def wait(self, seconds: int) -> None:
        self.world.clock.advance(seconds)

    @invariant()
    def nothing_is_published_twice(self) -> None:
        assert set(self.world.jobs.published.values()) <= {1}

    @invariant()
    def the_ledger_is_the_sum_of_the_jobs(self) -> None:
        assert self.world.jobs.ledger == self.world.jobs.sums()

    def teardown(self) -> None:
        """Run the queue without faults, which brings every job to its end."""
        self.data = None
        world = self.world
        deliveries, most = 0, DELIVERIES * len(world.messages)
        while world.messages:
            message = min(world.messages, key=lambda each: each.visible_at)
            world.clock.slept = max(world.clock.slept, message.visible_at)
            deliveries += 1
            assert deliveries <= most
            world.deliver(message)
        self.the_ledger_is_the_sum_of_the_jobs()
        assert all(day.reserved == 0 for day in world.jobs.ledger.values())
        self.check_ends()

    def check_ends(self) -> None:
        world = self.world
        for job in world.jobs.items.values():
            assert job.status.is_terminal
            paid = sum(charge.outcome is not ChargeOutcome.FREE for charge in job.charges)
            if job.id in world.disturbed:
                assert paid >= world.upstream.paid[job.id]
                continue
            assert paid == world.upstream.paid[job.id]
            if job.status is JobStatus.CANCELED:
                stored = {key for key in world.images.objects if key.startswith(f"{job.folder}/")}
                assert stored <= {job.init_image_key}


def has_failed(job: Job) -> bool:
    return job.status is JobStatus.FAILED


TestJobLife = JobLife.TestCase
TestJobLife.settings = settings(
    max_examples=200,
    stateful_step_count=12,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking such a life takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
