"""A function of deliveries that waits for seconds, not hours, and dies once after some POSTs.

It is put in the place of functions/deliveries in the embedded AWS, and leaves a file in DEATHS for
each message after which it has died: those to a URL that ends with `dies`. It changes what it
imports: no test may import it.
"""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from functions.deliveries import app
from sd3.domain import delivery
from sd3.domain.delivery import WebhookReply
from sd3.http import webhook_receiver
from sd3.http.webhook_receiver import HttpWebhookReceiver


def handler(event: dict[str, Any], context: Any) -> Any:
    """Call the handler of the deliveries."""
    return app.handler(event, context)


def post(
    receiver: HttpWebhookReceiver, url: str, headers: Mapping[str, str], body: bytes
) -> WebhookReply:
    """Replace HttpWebhookReceiver.post: end this process after a POST that is to be its last."""
    reply = _POST(receiver, url, headers, body)
    if url.endswith("dies"):
        try:
            (Path(os.environ["DEATHS"]) / headers["webhook-id"]).touch(exist_ok=False)
        except FileExistsError:
            return reply
        os._exit(1)
    return reply


_POST = HttpWebhookReceiver.post
_DELAYS = (*(timedelta(seconds=0.5) for _ in delivery.DELAYS), timedelta(minutes=1))
for owner, name, replacement in (
    (HttpWebhookReceiver, "post", post),
    (delivery, "DELAYS", _DELAYS),
    (webhook_receiver, "SECONDS", 1.0),
):
    setattr(owner, name, replacement)
