"""The receivers of docs/webhooks.md, copied by a reader, and called by the deployed stack."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import pytest
import requests
from standardwebhooks import Webhook as Signer

from local.environment import ROOT
from local.stack import Stack
from tests.support.octoai_sdks import NODE, NPM_FOLDER
from tests.support.polling import wait_for
from tests.support.programs import serving

PAGE: Final = (ROOT / "docs/webhooks.md").read_text()
UVICORN: Final = Path(sys.executable).with_name("uvicorn")
RECEIVERS: Final[dict[str, tuple[str, list[str | Path]]]] = {
    "python": (
        "receiver.py",
        [sys.executable, "-m", "uvicorn", "receiver:app", "--port", "{port}"],
    ),
    "ts": ("receiver.mts", [NODE, "receiver.mts"]),
}
"""The name of each program by the language of its block, and how it is started."""

BODY: Final = '{"type":"job.succeeded","data":{"id":"forged"}}'
OTHER: Final = f"whsec_{'QUJD' * 11}"


class Receiver(NamedTuple):
    """A program that runs."""

    url: str
    output: Path

    def worked(self) -> list[str]:
        """Return the messages that it has worked on, in its own words."""
        return re.findall(r"^(?:job|webhook)\..*$", self.output.read_text(), re.MULTILINE)


@contextmanager
def running(language: str, folder: Path, *, secret: str) -> Iterator[Receiver]:
    """Start the page's program in a folder, until the block ends."""
    [program] = re.findall(f"```{language}\n(.*?)```", PAGE, re.DOTALL)
    name, command = RECEIVERS[language]
    (folder / name).write_text(program)
    (folder / "node_modules").symlink_to(NPM_FOLDER / "node_modules")
    with serving(command, folder, WEBHOOK_SECRET=secret) as (url, output):
        yield Receiver(f"{url}/hooks/images", output)


def forged(secret: str) -> Iterator[dict[str, str]]:
    """Yield headers of messages that nobody with the client's secret has signed just now."""
    now = datetime.now(UTC)
    for signer, at in ((OTHER, now), (secret, now - timedelta(minutes=6))):
        signed = Signer(signer).sign("msg_1", at, BODY)
        stamp = str(int(at.timestamp()))
        yield {"webhook-id": "msg_1", "webhook-timestamp": stamp, "webhook-signature": signed}
    yield {"webhook-id": "msg_1", "webhook-timestamp": "now", "webhook-signature": "v1"}
    yield {}


@pytest.mark.parametrize("language", RECEIVERS)
def test_a_receiver_works_once_on_each_message_and_on_no_forged_one(
    stack: Stack, client: requests.Session, tmp_path: Path, language: str
) -> None:
    url = f"{stack.api_url}/webhook"
    secret = client.get(f"{url}/secret").json()["secret"]

    def delivered(attempts: int) -> str | None:
        """Return the id of the client's one message, once it has arrived so many times."""
        for one in client.get(f"{url}/deliveries").json()["deliveries"]:
            if (one["status"], len(one["attempts"])) == ("delivered", attempts):
                return str(one["id"])
        return None

    with running(language, tmp_path, secret=secret) as receiver:
        assert client.put(url, json={"url": receiver.url}).status_code == 200
        job = client.post(f"{stack.api_url}/generate/sd3", json={"prompt": "a fox", "steps": 1})
        message_id = wait_for(lambda: delivered(1), what="delivery")
        assert client.post(f"{url}/deliveries/{message_id}/replay").status_code == 202
        assert wait_for(lambda: delivered(2), what="replay") == message_id
        for headers in forged(secret):
            assert client.post(receiver.url, data=BODY, headers=headers).status_code == 401
        assert client.post(f"{url}/test").status_code == 202
        wait_for(lambda: receiver.worked()[1:], what="test")  # it has worked on all before
        assert receiver.worked() == [f"job.succeeded {job.json()['id']}", "webhook.test None"]
