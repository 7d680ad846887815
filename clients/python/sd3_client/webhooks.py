"""Messages at the ends of jobs, signed as Standard Webhooks has it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any


class WebhookError(ValueError):
    """Nobody with the secret has signed the message just now."""


def verify_webhook(
    body: bytes, headers: Mapping[str, str], *secrets: str, tolerance: float = 300
) -> dict[str, Any]:
    """Return a message that one of the secrets has signed in the last `tolerance` seconds.

    `body` is what came, byte by byte. Name two secrets while one replaces the other. A message can
    come twice: its header `webhook-id` is the same then. Raises WebhookError for any other message.
    """
    got = {name.lower(): value for name, value in headers.items()}
    stamp = got.get("webhook-timestamp", "")
    if not stamp.isdecimal() or abs(time.time() - float(stamp)) > tolerance:
        msg = "the message has no time, or one that is too far from now"
        raise WebhookError(msg)
    signed = f"{got.get('webhook-id', '')}.{stamp}.".encode() + body
    signatures = [each.encode() for each in got.get("webhook-signature", "").split()]
    for secret in secrets:
        key = base64.b64decode(secret.removeprefix("whsec_"))
        digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        if any(hmac.compare_digest(b"v1," + digest, each) for each in signatures):
            message: dict[str, Any] = json.loads(body)
            return message
    msg = "no signature of the message fits"
    raise WebhookError(msg)
