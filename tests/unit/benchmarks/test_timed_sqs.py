"""The model of SQS: messages are delivered at least once, when they are visible, and given up."""

from functools import partial
from random import Random
from typing import Any

import pytest

from benchmarks.timed_sqs import DELIVERY_SECONDS, TimedQueue, TimedSqs
from benchmarks.virtual_time import VirtualTime

DONE: dict[str, Any] = {"batchItemFailures": []}
AGAIN: dict[str, Any] = {"batchItemFailures": [{"itemIdentifier": "1"}]}


class Queue:
    """A queue whose function answers as it is told, and what it was given when."""

    def __init__(self, *replies: Any, seconds: float = 0.0, **settings: Any) -> None:
        self.time = VirtualTime()
        self.received: list[tuple[float, str]] = []
        self.running = self.most = 0
        self._replies, self._seconds = list(replies), seconds
        self.dead = TimedQueue(self.time, Random(1), self._die, visibility_seconds=30)  # noqa: S311 - nothing secret
        self.deaths: list[str] = []
        self.queue = TimedQueue(
            self.time,
            Random(1),  # noqa: S311 - nothing secret
            self._work,
            visibility_seconds=30,
            most_receives=3,
            dead_letters=self.dead,
            **settings,
        )
        self.client = TimedSqs(self.time, {"queue": self.queue, "nobody's": None})
        self.last: Any = None

    def send(self, *bodies: str, delay: int = 0) -> None:
        send = self.client.send_message
        for body in bodies:
            message: dict[str, Any] = {"MessageBody": body, "DelaySeconds": delay}
            self.time.start(partial(send, QueueUrl="queue", **message))

    def _work(self, event: dict[str, Any]) -> Any:
        [self.last] = event["Records"]
        self.received.append((self.time.now, self.last["body"]))
        self.running += 1
        self.most = max(self.most, self.running)
        self.time.sleep(self._seconds)
        self.running -= 1
        reply = self._replies.pop(0) if self._replies else DONE
        if isinstance(reply, Exception):
            raise reply
        return reply(self.last) if callable(reply) else reply

    def _die(self, event: dict[str, Any]) -> Any:
        self.deaths.append(event["Records"][0]["body"])
        return DONE


def test_a_message_is_delivered_after_its_delay_and_deleted() -> None:
    queue = Queue()
    queue.send("a")
    queue.send("b", delay=100)
    queue.time.run()
    assert [body for _, body in queue.received] == ["a", "b"]
    assert queue.received[0][0] <= DELIVERY_SECONDS
    assert 100 <= queue.received[1][0] <= 100 + DELIVERY_SECONDS
    assert queue.queue.open == 0
    assert queue.last["attributes"]["ApproximateReceiveCount"] == "1"
    assert queue.last["attributes"]["SentTimestamp"] == "0"


@pytest.mark.parametrize("failure", [LookupError(), AGAIN])
def test_a_message_that_was_not_processed_comes_again_when_it_is_visible(failure: Any) -> None:
    queue = Queue(failure)
    queue.send("a")
    queue.time.run()
    first, second = (at for at, _ in queue.received)
    assert 30 <= second - first <= 30 + DELIVERY_SECONDS
    assert queue.last["attributes"]["ApproximateReceiveCount"] == "2"


def test_the_function_can_change_when_a_message_is_visible() -> None:
    def later(record: Any) -> Any:
        for seconds in (7, 5):
            queue.client.change_message_visibility(
                QueueUrl="queue",
                ReceiptHandle=record["receiptHandle"],
                VisibilityTimeout=seconds,
            )
        return AGAIN

    queue = Queue(later)
    queue.send("a")
    queue.time.run()
    first, second = (at for at, _ in queue.received)
    assert 5 < second - first < 6


def test_a_receipt_of_an_earlier_receive_changes_nothing() -> None:
    receipts: list[str] = []

    def note(record: Any) -> Any:
        receipts.append(record["receiptHandle"])
        return AGAIN

    def use_old(_: Any) -> Any:
        queue.client.change_message_visibility(
            QueueUrl="queue", ReceiptHandle=receipts[0], VisibilityTimeout=1
        )
        return AGAIN

    queue = Queue(note, use_old)
    queue.send("a")
    queue.time.run()
    assert queue.received[2][0] - queue.received[1][0] >= 30


def test_a_message_that_is_received_too_often_goes_to_the_dead_letters() -> None:
    queue = Queue(AGAIN, AGAIN, AGAIN)
    queue.send("a")
    queue.time.run()
    assert len(queue.received) == 3
    assert queue.deaths == ["a"]
    assert queue.queue.counts["dead"] == 1
    assert queue.queue.open == queue.dead.open == 0


def test_messages_come_in_no_order_and_some_of_them_twice() -> None:
    queue = Queue(repeated=0.2)
    bodies = [f"{number:02}" for number in range(50)]
    queue.send(*bodies)
    queue.time.run()
    seen = [body for _, body in queue.received]
    assert set(seen) == set(bodies)
    assert len(seen) > len(bodies)
    assert list(dict.fromkeys(seen)) != bodies


def test_no_more_messages_are_worked_on_at_a_time_than_are_allowed() -> None:
    queue = Queue(seconds=1.0, concurrency=3)
    queue.send(*"abcdefghij")
    queue.time.run()
    assert queue.most == 3
    assert len(queue.received) == 10


def test_messages_can_be_sent_in_a_batch_and_to_nobody() -> None:
    queue = Queue()
    entries = [{"Id": f"{at}", "MessageBody": body} for at, body in enumerate("ab")]
    replies: list[Any] = []

    def send() -> None:
        replies.append(queue.client.send_message_batch(QueueUrl="queue", Entries=entries))
        queue.client.send_message(QueueUrl="nobody's", MessageBody="c")

    queue.time.start(send)
    queue.time.run()
    assert {body for _, body in queue.received} == {"a", "b"}
    assert replies == [{"Successful": [{"Id": "0"}, {"Id": "1"}]}]
    assert queue.client.unread == ["c"]
