"""A queue behind a rule of EventBridge: what the deployed stack tells of itself."""

import json
from typing import Any
from uuid import uuid4

from local.stack import Stack


class EventQueue:
    """Gets the events of one type from now on."""

    def __init__(self, stack: Stack, detail_type: str) -> None:
        sqs, events = stack.deployed.client("sqs"), stack.deployed.client("events")
        name = f"events-{uuid4().hex[:8]}"
        self._sqs, self._url = sqs, sqs.create_queue(QueueName=name)["QueueUrl"]
        queue = sqs.get_queue_attributes(QueueUrl=self._url, AttributeNames=["QueueArn"])
        pattern = {"source": ["sd3.jobs"], "detail-type": [detail_type]}
        events.put_rule(Name=name, EventPattern=json.dumps(pattern))
        target = {"Id": "queue", "Arn": queue["Attributes"]["QueueArn"]}
        events.put_targets(Rule=name, Targets=[target])
        self._events: list[Any] = []

    def details(self, client_id: str) -> list[Any]:
        """Return the details of a client's events so far."""
        return [event["detail"] for event in self.events(client_id)]

    def events(self, client_id: str) -> list[Any]:
        """Return a client's events so far, as a target of the rule gets them."""
        while True:
            reply = self._sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10)
            for message in reply.get("Messages", []):
                self._events.append(json.loads(message["Body"]))
                self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
            if "Messages" not in reply:
                return [one for one in self._events if one["detail"]["client_id"] == client_id]
