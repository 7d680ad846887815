"""The soak: nothing is wrong after a run, and whatever breaks the service is found."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks import soak
from benchmarks.aws_client import Network
from benchmarks.soak import AIMS, Plan, Weather
from benchmarks.soak_audit import Audit
from benchmarks.soak_services import Images
from benchmarks.stream import Reader
from benchmarks.table import line
from benchmarks.timed_sqs import TimedQueue
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.sqs import SqsJobQueue
from sd3.domain.client import NO_LIMITS
from sd3.domain.job import Job
from sd3.services.submission import JobSubmission
from sd3.services.worker import Worker

STORM = Weather(
    network=Network(lost_requests=0.01, lost_replies=0.01, outages=0.005),
    deaths=0.01,
    bucket_failures=0.01,
    repeated_batches=0.2,
    repeated_messages=0.1,
)


def test_nothing_is_wrong_after_hundreds_of_jobs_in_all_weather() -> None:
    found = soak.run(Plan(250, 1, STORM))
    assert found.faults == dict.fromkeys(AIMS, 0)
    counts = found.counts
    assert counts["jobs"] >= 250
    assert counts["succeeded"] > 200
    assert counts["charged images"] >= counts["billed images"] > 250
    for event in ("deaths", "lost requests", "lost replies", "outages", "vendor faults"):
        assert counts[event] > 2, event
    for event in ("batches again", "messages twice", "canceled or deleted", "refused"):
        assert counts[event] > 2, event


def test_in_fair_weather_nothing_is_charged_that_was_not_billed() -> None:
    fair = Weather(Network(), 0.0, 0.0, 0.0, 0.0)
    found = soak.run(Plan(100, 2, fair))
    assert found.faults == dict.fromkeys(AIMS, 0)
    assert found.counts["deaths"] == found.counts["lost replies"] == 0
    # Faults of vendors of which nobody knows the costs are charged, and perhaps were not billed.
    unknown = found.counts["vendor faults"]
    assert 0 <= found.counts["charged images"] - found.counts["billed images"] <= unknown


def test_a_run_is_the_same_again_by_its_seed() -> None:
    first, same, other = (soak.run(Plan(60, seed, STORM)) for seed in (3, 3, 4))
    assert first == same
    assert first != other


Patch = Callable[[pytest.MonkeyPatch], None]


def _loses_unknown_charges(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Job, "charge_unknown", lambda self: self)


def _charges_twice(patch: pytest.MonkeyPatch) -> None:
    charge = Job.charge
    patch.setattr(Job, "charge", lambda self, charges: charge(self, [*charges] * 2))


def _loses_records(patch: pytest.MonkeyPatch) -> None:
    process = Reader._process

    def lossy(self: Reader, records: Any) -> int:
        return len(records) if self.counts["batches"] % 9 == 8 else process(self, records)

    def counting(self: Reader, records: Any) -> int:
        done = lossy(self, records)
        self.counts["batches"] += 1
        return done

    patch.setattr(Reader, "_process", counting)


def _loses_messages(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(SqsJobQueue, "_send", lambda *_, **__: None)


def _loses_images(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Images, "_call", lambda *_: None)


def _forgets_limits(patch: pytest.MonkeyPatch) -> None:
    create = JobStore._create
    patch.setattr(
        JobStore, "_create", lambda self, puts, job, _: create(self, puts, job, NO_LIMITS)
    )


def _forgets_keys(patch: pytest.MonkeyPatch) -> None:
    submit = JobSubmission._submit
    patch.setattr(
        JobSubmission,
        "_submit",
        lambda self, request, context: submit(
            self, request, context._replace(idempotency_key=None)
        ),
    )


def _never_finishes_a_message(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(TimedQueue, "_delete", lambda *_: None)
    patch.setattr(TimedQueue, "_appear", lambda *_: None)


def _has_a_bug(patch: pytest.MonkeyPatch) -> None:
    process, left = Worker.process, [1] * 20

    def fail(self: Worker, *arguments: Any, **named: Any) -> int | None:
        if left:
            left.pop()
            raise LookupError
        return process(self, *arguments, **named)

    patch.setattr(Worker, "process", fail)


@pytest.mark.parametrize(
    ("breaks", "name"),
    [
        (_loses_unknown_charges, "unbilled"),
        (_charges_twice, "twice"),
        (_charges_twice, "overcharged"),
        (_loses_records, "without_event"),
        (_loses_records, "wrong_days"),
        (_loses_messages, "open"),
        (_loses_images, "without_image"),
        (_forgets_limits, "over_budget"),
        (_forgets_keys, "double_keys"),
        (_never_finishes_a_message, "messages"),
        (_has_a_bug, "bugs"),
    ],
)
def test_what_breaks_the_service_is_found(
    monkeypatch: pytest.MonkeyPatch, breaks: Patch, name: str
) -> None:
    breaks(monkeypatch)
    assert soak.run(Plan(120, 5, STORM)).faults[name] > 0


@pytest.fixture
def worlds(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    plans: list[Plan] = []

    def run(plan: Plan) -> Audit:
        plans.append(plan)
        return Audit(open=plan.seed - 1, counts=Counter(jobs=plan.jobs))

    monkeypatch.setattr(soak, "WORLDS", 2)
    monkeypatch.setattr(soak, "run", run)
    monkeypatch.setattr(soak, "in_parallel", map)
    return plans


def test_the_rows_add_up_the_worlds_and_judge_each_number(worlds: list[Plan]) -> None:
    head, *found = soak.measure(1)
    assert [plan.seed for plan in worlds] == [1, 2]
    assert head.name.startswith(f"{2 * soak.JOBS} jobs")
    texts = [line(one) for one in found]
    assert texts[0].startswith(AIMS["open"])
    assert texts[0].endswith("1: missed")
    assert all(text.endswith("0: met") for text in texts[1 : len(AIMS)])
    assert len(texts) == len(AIMS) + 1


def test_every_number_of_the_audit_has_a_row() -> None:
    assert set(AIMS) == set(Audit().faults)
