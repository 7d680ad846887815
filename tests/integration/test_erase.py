"""make erase on moto: nothing of a client is left or comes back, and others keep all of theirs."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.notifications import app as notifications_app
from functions.worker import app as worker_app
from ops import erase as command
from ops.client_data import data_of
from ops.erase import Report, erase
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.client_items import ClientItems
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.adapters.dynamodb.token_admin import TokenStore
from sd3.adapters.s3.client_files import ClientFiles
from sd3.domain.client import JWT_CLIENTS
from sd3.errors import StorageError
from tests.integration.conftest import Functions, MotoStack, load_event, stack_with_data
from tests.support.factories.client_data import about, dump, id_of
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes.jobs_stream import JobsStream
from tests.support.fakes.ports import FakeUpstream

QUEUED = id_of("acme", "queued")
OTHERS = ("acme-2", "acm", "other")
COUNTS = {"tokens": 1, "open jobs": 2, "ended jobs": 4, "deleted jobs": 1, "idempotency keys": 1,
          "results that can be reused": 1,
          "images": 4, "renditions": 1, "uploads": 1, "inbox": 1,
          "webhooks and deliveries": 3, "batches, their parts and refused lines": 4}  # fmt: skip


@pytest.fixture
def stack(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> MotoStack:
    """Provide the stack as the commands find it. It has data of acme and of others."""
    return stack_with_data(aws, monkeypatch, command=command, clients=["acme", *OTHERS])


def run(
    stack: MotoStack, folder: Path, *, sleep: Callable[[float], None] = lambda _: None
) -> Report:
    return erase(data_of("acme", stack, sleep=sleep), out=folder, recovery_days=7, sleep=sleep)


def of_others(stack: MotoStack) -> dict[str, str]:
    found = dump(stack)
    return {name: text for other in OTHERS for name, text in about(other, found).items()}


def test_nothing_of_the_client_is_left_and_others_have_all_of_theirs(
    stack: MotoStack, functions: Functions, tmp_path: Path
) -> None:
    functions.changes()
    before = of_others(stack)
    report = run(stack, tmp_path, sleep=lambda _: functions.changes())
    assert report.counts == COUNTS | {"items of usage": 2}
    assert not about("acme", dump(stack))
    assert of_others(stack) == before
    assert not any(run(stack, tmp_path).counts.values())


def test_what_the_stream_brings_late_leaves_nothing_of_the_client(
    stack: MotoStack, functions: Functions, tmp_path: Path
) -> None:
    run(stack, tmp_path)
    ends = [one for one in JobsStream().read() if "completed_at" in str(one["dynamodb"])]
    notifications_app.handler({"Records": ends}, lambda_context())
    functions.changes()
    found = dump(stack)
    assert not about("acme", found)
    assert all(about(other, found) for other in OTHERS)


def test_a_shared_budget_gets_back_what_open_jobs_had_reserved(
    aws: Aws, stack: MotoStack, functions: Functions, tmp_path: Path
) -> None:
    def shared() -> int:
        [day] = UsageStore(aws.dynamodb, "usage").days(JWT_CLIENTS, since="0", until="9")
        return day.usage.committed

    functions.changes()
    before = shared()
    run(stack, tmp_path, sleep=lambda _: functions.changes())
    assert shared() == before - 30_000  # the running one may have been paid


def test_a_job_under_way_leaves_no_images_and_its_message_does_nothing(
    aws: Aws, stack: MotoStack, upstream: FakeUpstream, functions: Functions, tmp_path: Path
) -> None:
    event = load_event("worker")
    event["Records"][0]["body"] = json.dumps({"job_id": QUEUED})
    aws.s3.delete_object(Bucket="images", Key=f"acme/{QUEUED}/init.png")
    store = JobStore(aws.dynamodb, "jobs", usage_table="usage")
    queued = store.get(QUEUED, now=datetime.now(UTC))
    store.save(queued.model_copy(update={"init_image_key": None}))
    generate = upstream.generate

    def generate_late(task: Any) -> Any:
        run(stack, tmp_path)
        return generate(task)

    upstream.generate = generate_late  # type: ignore[method-assign]
    for _ in range(2):
        assert worker_app.handler(event, lambda_context()) == {"batchItemFailures": []}
    assert len(upstream.calls) == 1
    functions.changes()
    assert not about("acme", dump(stack))


STEPS = [
    (TokenStore, "revoke"),
    (JobStore, "save"),
    (ClientItems, "remove"),
    (ClientFiles, "remove"),
    (ClientItems, "remove_webhooks"),
    (ClientItems, "remove_batches"),
    (ClientItems, "remove_usage"),
    (TokenStore, "erase"),
]


@pytest.mark.parametrize(("store", "step"), STEPS, ids=[step for _, step in STEPS])
@pytest.mark.parametrize("is_done", [False, True])
def test_an_erasure_that_fails_anywhere_is_completed_by_the_next(
    stack: MotoStack,
    functions: Functions,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    store: Any,
    step: str,
    is_done: bool,
) -> None:
    act = getattr(store, step)

    def fail(*arguments: Any, **named: Any) -> Any:
        if is_done:
            act(*arguments, **named)
        raise StorageError("out of order")

    arguments = ["acme", "--sure", "acme", "--out", str(tmp_path)]
    monkeypatch.setattr(command, "_LEDGER_SECONDS", 0)
    with monkeypatch.context() as broken:
        broken.setattr(store, step, fail)
        assert command.main(arguments) == 1
    assert "run it again" in capsys.readouterr().err
    assert command.main(arguments) == 0
    functions.changes()
    assert not about("acme", dump(stack))


@pytest.mark.usefixtures("functions")
def test_without_being_sure_it_only_tells(
    stack: MotoStack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(stack)
    assert command.main(["acme", "--out", str(tmp_path)]) == 0
    told = dict(line.rsplit(maxsplit=1) for line in capsys.readouterr().out.splitlines()[:-1])
    assert told == {name: str(count) for name, count in COUNTS.items()} | {"items of usage": "0"}
    with pytest.raises(SystemExit):
        command.main(["acme", "--sure", "acme-2"])
    assert dump(stack) == before
    assert not [*tmp_path.iterdir()]


def test_the_report_has_the_amounts_and_says_what_remains(
    stack: MotoStack, functions: Functions, tmp_path: Path
) -> None:
    functions.changes()
    report = run(stack, tmp_path, sleep=lambda _: functions.changes())
    [path] = tmp_path.iterdir()
    written = json.loads(path.read_text())
    [usage] = written["usage_in_micro_dollars"]
    assert (usage["reserved"], usage["spent"], usage["images"]) == (0, 180_000, 1)
    ends = {one["what"]: one["until"] for one in written["remains"]}
    for place, days in (("point-in-time", 7), ("table's stream", 1), ("StreamFailuresBucket", 16)):
        [until] = [until for what, until in ends.items() if place in what]
        assert datetime.fromisoformat(until) == report.at + timedelta(days=days)
    assert "Run it again after" in [*report.lines()][-1]


def test_of_a_client_with_jwts_the_report_says_that_it_can_begin_anew() -> None:
    for client_id, is_told in (("acme", False), ("jwt-0f", True)):
        remains = command.remaining(client_id, now=datetime.now(UTC), recovery_days=35)
        assert any("JWT" in what for what, _ in remains) is is_told
