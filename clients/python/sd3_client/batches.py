"""Many requests at once: a file of lines in, a file of results out."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import requests

from sd3_client.models import Batch, Json, known
from sd3_client.transport import pause_of, read, send, still_running


class Batches:
    """The batches of a client, which is `Client.batches`."""

    def __init__(
        self,
        call: Callable[..., requests.Response],
        upload: Callable[[bytes, str], str],
        files: requests.Session,
    ) -> None:
        self._call, self._upload, self._files = call, upload, files

    def submit(
        self,
        lines: Sequence[Json] | Path,
        *,
        metadata: dict[str, str] | None = None,
        idempotency_key: str = "",
    ) -> Batch:
        """Send up to 100 requests, each with a `custom_id`, or a file of JSON lines."""
        body: dict[str, Any] = {"metadata": metadata} if metadata else {}
        if isinstance(lines, Path):
            body["upload_id"] = self._upload(lines.read_bytes(), "application/jsonl")
        else:
            body["requests"] = [*lines]
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return known(Batch, read(self._call("POST", "/batches", headers=headers, json=body)))

    def wait(
        self,
        batch: Batch | str,
        *,
        timeout: float = 86400,
        on_update: Callable[[Batch], object] | None = None,
    ) -> Batch:
        """Return a batch when it has ended. Raises StillRunningError after `timeout` seconds."""
        batch_id = batch if isinstance(batch, str) else batch.id
        until = time.monotonic() + timeout
        while True:
            left = until - time.monotonic()
            response = self._call("GET", f"/batches/{batch_id}")
            found = known(Batch, read(response))
            if on_update:
                on_update(found)
            if found.has_ended:
                return found
            if left <= 0:
                raise still_running("batch", batch_id, timeout)
            time.sleep(min(left, pause_of(response)))

    def results(self, batch: Batch | str) -> Iterator[Json]:
        """Yield the result of each line, in the order of the lines."""
        path = f"/batches/{batch if isinstance(batch, str) else batch.id}/results"
        link = read(self._call("GET", path, headers={"Accept": "application/json"}))["url"]
        yield from map(json.loads, send(self._files, "GET", link).content.splitlines())

    def cancel(self, batch: Batch | str) -> Batch:
        """Cancel the lines that have not ended."""
        path = f"/batches/{batch if isinstance(batch, str) else batch.id}/cancel"
        return known(Batch, read(self._call("POST", path)))
