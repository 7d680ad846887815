"""SQS in virtual time: delays, visibility, at least once, in no order, and a dead-letter queue."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from random import Random
from typing import Any, Final

from benchmarks.virtual_time import VirtualTime

CALL_SECONDS: Final = 0.015
DELIVERY_SECONDS: Final = 0.02
"""Until Lambda has received a message that is visible."""

Handler = Callable[[dict[str, Any]], Any]


@dataclass
class Message:
    """A message of a queue."""

    id: str
    body: str
    sent_at: float
    receives: int = 0
    timer: int = 0
    """How often it was decided when the message is visible; only the last time counts."""
    is_deleted: bool = False


@dataclass
class TimedQueue:
    """A queue, and the function that Lambda calls with its messages, one at a time.

    A message that the function has processed is deleted. Any other comes again when it is visible.
    """

    time: VirtualTime
    random: Random
    handler: Handler
    visibility_seconds: float
    most_receives: int = 0
    dead_letters: "TimedQueue | None" = None
    concurrency: int = 10
    epoch: float = 0.0
    """When virtual time begins, in seconds since the epoch."""
    repeated: float = 0.0
    """The share of receives after which a message is received by another one at the same time."""
    open: int = 0
    """Messages that are not deleted."""
    counts: Counter[str] = field(default_factory=Counter)
    """Sent, received, repeated, failed, dead."""
    _visible: list[Message] = field(default_factory=list)
    _busy: int = 0

    def put(self, message: Message, *, delay: float = 0.0) -> None:
        """Take a message that is visible after `delay` seconds."""
        self.open += 1
        self.counts["sent"] += 1
        self.show(message, after=delay)

    def show(self, message: Message, *, after: float) -> None:
        """Make a message visible in `after` seconds."""
        message.timer += 1
        due = partial(self._appear, message, message.timer)
        self.time.start(due, after=after + DELIVERY_SECONDS * self.random.random())

    def _appear(self, message: Message, timer: int) -> None:
        if not message.is_deleted and message.timer == timer:
            self._visible.append(message)
            self._serve()

    def _serve(self) -> None:
        """Give messages to the function, in no order, as long as it may have more."""
        while self._visible and self._busy < self.concurrency:
            at = self.random.randrange(len(self._visible))
            self._visible[at], self._visible[-1] = self._visible[-1], self._visible[at]
            message = self._visible.pop()
            if not message.is_deleted:
                self._receive(message)

    def _receive(self, message: Message) -> None:
        if self.dead_letters and message.receives >= self.most_receives:
            self._delete(message)
            self.counts["dead"] += 1
            self.dead_letters.put(Message(message.id, message.body, message.sent_at))
            return
        message.receives += 1
        self.counts["received"] += 1
        self.show(message, after=self.visibility_seconds)
        deliveries = 1
        if self.random.random() < self.repeated:
            self.counts["repeated"] += 1
            deliveries = 2
        for _ in range(deliveries):
            self._busy += 1
            self.time.start(partial(self._deliver, message))

    def _deliver(self, message: Message) -> None:
        try:
            reply = self.handler({"Records": [self._record(message)]})
            if not (reply and reply["batchItemFailures"]):
                self._delete(message)
        except Exception:  # noqa: BLE001 - whatever a function raises, its messages come again
            self.counts["failed"] += 1
        finally:
            self._busy -= 1
            self._serve()

    def _delete(self, message: Message) -> None:
        if not message.is_deleted:
            message.is_deleted = True
            self.open -= 1

    def _record(self, message: Message) -> dict[str, Any]:
        return {
            "messageId": message.id,
            "receiptHandle": f"{message.id}/{message.receives}",
            "body": message.body,
            "eventSource": "aws:sqs",
            "eventSourceARN": "",
            "attributes": {
                "ApproximateReceiveCount": str(message.receives),
                "SentTimestamp": str(int((self.epoch + message.sent_at) * 1000)),
            },
        }


class TimedSqs:
    """A client of SQS, by the URLs of its queues. A queue of None keeps the bodies only."""

    def __init__(self, time: VirtualTime, queues: Mapping[str, TimedQueue | None]) -> None:
        self.unread: list[str] = []
        """The bodies of messages that no function reads."""
        self._time, self._queues = time, queues
        self._numbers = count(1)
        self._messages: dict[str, Message] = {}

    def send_message(
        self,
        *,
        QueueUrl: str,  # noqa: N803 - botocore's names, here and below
        MessageBody: str,  # noqa: N803
        DelaySeconds: int = 0,  # noqa: N803
        MessageGroupId: str = "",  # noqa: N803, ARG002 - a client's; this queue is not fair
    ) -> dict[str, Any]:
        """Send a message."""
        self._put(QueueUrl, MessageBody, DelaySeconds)
        self._time.sleep(CALL_SECONDS)
        return {}

    def send_message_batch(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        Entries: Sequence[Mapping[str, Any]],  # noqa: N803
    ) -> dict[str, Any]:
        """Send up to ten messages."""
        if not 1 <= len(Entries) <= 10:
            raise ValueError("A batch has 1 to 10 messages.")
        for entry in Entries:
            self._put(QueueUrl, entry["MessageBody"], entry.get("DelaySeconds", 0))
        self._time.sleep(CALL_SECONDS)
        return {"Successful": [{"Id": entry["Id"]} for entry in Entries]}

    def change_message_visibility(
        self,
        *,
        QueueUrl: str,  # noqa: N803
        ReceiptHandle: str,  # noqa: N803
        VisibilityTimeout: int,  # noqa: N803
    ) -> dict[str, Any]:
        """Make a received message visible later, or sooner; an old receipt changes nothing."""
        number, _, receipt = ReceiptHandle.partition("/")
        message, queue = self._messages.get(number), self._queues[QueueUrl]
        if queue and message and str(message.receives) == receipt:
            queue.show(message, after=VisibilityTimeout)
        self._time.sleep(CALL_SECONDS)
        return {}

    def _put(self, url: str, body: str, delay: int) -> None:
        queue = self._queues[url]
        if queue is None:
            self.unread.append(body)
            return
        message = Message(str(next(self._numbers)), body, self._time.now)
        self._messages[message.id] = message
        queue.put(message, delay=delay)
