"""make webhooks on moto: what a client's webhooks were told, and how they are told again."""

from datetime import UTC, datetime, timedelta

import pytest

from ops import webhooks as command
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.webhooks import WebhookStore
from sd3.domain.delivery import Delivery, DeliveryKey, DeliveryStatus, message_id_of
from sd3.domain.webhook import JOB_EVENTS, WebhookEvent
from sd3.errors import StorageError
from sd3.services import webhooks as services
from tests.integration.conftest import ENVIRONMENT, MotoStack

COUNT = 5
TOKEN = "token=only-they-know"


@pytest.fixture
def store(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> WebhookStore:
    """Provide the table of the stack that the command finds, with deliveries of each hour."""
    store = WebhookStore(aws.dynamodb, ENVIRONMENT["WEBHOOKS_TABLE"])
    url = f"https://hooks.example/?{TOKEN}"
    store.save_settings(store.settings("acme").set(url, JOB_EVENTS))
    for client in ("acme", "acme-2"):
        for hours in range(COUNT):
            status = DeliveryStatus.FAILED if hours % 2 else DeliveryStatus.DELIVERED
            at = datetime.now(UTC) - timedelta(hours=hours, minutes=1)
            key = DeliveryKey(
                client, message_id_of(at, str(hours)), WebhookEvent.FAILED, at, f"j{hours}"
            )
            changes = {"status": status, "host": "hooks.example", "failures": 11}
            store.save_delivery(Delivery.of(key).model_copy(update=changes))
    monkeypatch.setattr(command, "find_stack", lambda _: MotoStack(aws))
    monkeypatch.setattr(command, "_PAGE", 2)
    monkeypatch.setattr(services, "_PAGE", 2)
    return store


def test_deliveries_are_shown_newest_first_and_no_address_is(
    store: WebhookStore, capsys: pytest.CaptureFixture[str]
) -> None:
    since = (datetime.now(UTC) - timedelta(hours=3)).isoformat()
    assert command.main(["acme", "--since", since]) == 0
    shown = capsys.readouterr().out
    about, _header, *rows = shown.splitlines()
    assert about == "acme has a webhook for job.succeeded, job.failed, job.canceled."
    assert [row.split()[3] for row in rows] == ["j0", "j1", "j2"]
    assert all("hooks.example" in row for row in rows)
    assert TOKEN not in shown
    assert command.main(["acme", "--status", "failed"]) == 0
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split()[3] for row in rows] == ["j1", "j3"]


def test_why_an_endpoint_is_disabled_is_told(
    store: WebhookStore, capsys: pytest.CaptureFixture[str]
) -> None:
    disabled = store.settings("acme").disable("no message arrived", now=datetime.now(UTC))
    store.save_settings(disabled)
    for client, told in (("acme", "no message arrived"), ("acme-2", "has no webhook")):
        assert command.main([client]) == 0
        assert told in capsys.readouterr().out.splitlines()[0]


def test_what_failed_begins_again_once(
    aws: Aws, store: WebhookStore, capsys: pytest.CaptureFixture[str]
) -> None:
    for count in (2, 0):
        assert command.main(["acme", "--replay", "failed", "--since", "1999-01-01"]) == 0
        assert capsys.readouterr().out == f"{count} deliveries begin again\n"
    queue = ENVIRONMENT["DELIVERIES_QUEUE_URL"]
    sent = aws.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert len(sent) == 2
    assert all('"client_id":"acme"' in message["Body"] for message in sent)


@pytest.mark.parametrize(
    "arguments", [[], ["A"], ["acme", "--since", "soon"], ["acme", "--replay", "all"]]
)
def test_what_cannot_be_meant_is_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)


@pytest.mark.usefixtures("store")
def test_a_failure_says_that_it_can_be_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise StorageError("no table")

    monkeypatch.setattr(WebhookStore, "deliveries", fail)
    assert command.main(["acme", "--replay", "failed"]) == 1
    assert "run it again: no table" in capsys.readouterr().err
