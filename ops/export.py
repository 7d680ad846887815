"""python -m ops.export CLIENT: write all that a stack has of a client to a zip file."""

import argparse
import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from botocore.exceptions import BotoCoreError, ClientError

from ops.client_data import ClientData, data_of, known_id
from ops.clients import ID_DIGITS
from ops.stacks import StackError, find_stack
from sd3.adapters.s3.client_files import File, Folder
from sd3.domain.billing import MICROS_PER_DOLLAR
from sd3.domain.client import ClientLimits
from sd3.domain.image import Link
from sd3.domain.job import Job
from sd3.errors import StorageError
from sd3.responses.batches import batch_response
from sd3.responses.render import job_response
from sd3.responses.webhooks import delivery_response, webhook_response

EXPORTS: Final = Path("exports")
"""Where exports and reports are written, beside the code and not under version control."""

_EVER: Final = datetime.fromtimestamp(0, UTC)
"""As of then no job has expired: what DynamoDB has not removed yet is exported too."""
_PAGE: Final = 100
_PLAIN: Final = "!#$&'()+,;=@[]{}~ "
"""Characters that stand for themselves in the name of a file, beside letters and digits."""
_ODD_PARTS: Final = {"": "%2F", ".": "%2E", "..": "%2E%2E"}


def main(arguments: list[str]) -> int:
    """Write the file, print what is in it, and return the exit status."""
    parser = argparse.ArgumentParser(prog="make export", description=__doc__)
    parser.add_argument("client", metavar="CLIENT", type=known_id)
    parser.add_argument("--out", type=Path, default=EXPORTS, help="the folder to write to")
    parser.add_argument("--stack", help="a stack in your AWS account, not the one running here")
    options = parser.parse_args(arguments)
    try:
        data = data_of(options.client, find_stack(options.stack))
        path = options.out / f"{options.client}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.zip"
        with written(path) as file, ZipFile(file, "w") as archive:
            export = Export(archive, data)
            export.write()
    except (StackError, StorageError, OSError, BotoCoreError, ClientError) as error:
        print(f"not exported: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {', '.join(f'{count} {name}' for name, count in export.counts.items())}")
    for key in export.unread:
        print(f"S3 does not give out {key}", file=sys.stderr)
    return 1 if export.unread else 0


@contextmanager
def written(path: Path) -> "Iterator[io.BufferedWriter]":
    """Open a file that only its owner may read, and that has its name once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(number, "wb") as file:
            yield file
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


class Export:
    """One archive, which is written part by part: no more than a page of jobs is in memory."""

    def __init__(self, archive: ZipFile, data: ClientData) -> None:
        self._archive, self._data = archive, data
        self.counts: dict[str, int] = {}
        self.unread: list[str] = []
        """Keys that S3 gives out to nobody, such as those in an archive class."""

    def write(self) -> None:
        """Write everything. Raises StorageError and OSError."""
        data = self._data
        self._lines(
            "jobs.jsonl", "jobs", (json.dumps(line) for line in map(_document, self._jobs()))
        )
        for folder in data.files.folders:
            copies = (self._file(folder, file) for file in data.files.files(folder))
            self.counts[folder.name] = sum(copies)
        self._lines("webhook.jsonl", "webhooks", _webhook(data))
        self._lines("deliveries.jsonl", "deliveries", _deliveries(data))
        self._lines("batches.jsonl", "batches", _batches(data))
        self._lines("usage.csv", "days of usage", _usage(data), titles=1)
        self._lines("tokens.csv", "tokens", _tokens(data), titles=1)

    def _jobs(self) -> Iterator[Job]:
        after: tuple[str, str] | None = None
        while True:
            page = self._data.jobs.page(
                self._data.client_id, status=None, limit=_PAGE, after=after, now=_EVER
            )
            yield from page.jobs
            after = page.next_position
            if after is None:
                return

    def _lines(self, name: str, what: str, lines: Iterable[str], *, titles: int = 0) -> None:
        entry = ZipInfo(name, datetime.now(UTC).timetuple()[:6])
        entry.compress_type = ZIP_DEFLATED
        count = -titles
        with self._archive.open(entry, "w", force_zip64=True) as file:
            for line in lines:
                file.write(f"{line}\n".encode())
                count += 1
        self.counts[what] = count

    def _file(self, folder: Folder, file: File) -> bool:
        """Copy an object and its metadata; return whether it was there."""
        try:
            opened = self._data.files.open(folder, file)
        except StorageError:
            self.unread.append(f"{folder.bucket}/{file.key}")
            return False
        if opened is None:
            return False
        name, day = file_name(folder, file.key), file.modified.timetuple()[:6]
        entry = ZipInfo(name, day)
        entry.compress_type = ZIP_STORED  # images are compressed
        with self._archive.open(entry, "w", force_zip64=True) as copy:
            for chunk in opened.chunks:
                copy.write(chunk)
        if opened.metadata:
            beside = ZipInfo(f"metadata/{name}.json", day)
            self._archive.writestr(beside, json.dumps(opened.metadata))
        return True


def file_name(folder: Folder, key: str) -> str:
    """Name the copy of an object. No key leads out of the folder that it is unpacked to."""
    parts = (quote(part, safe=_PLAIN) for part in key.removeprefix(folder.prefix).split("/"))
    safe = (_ODD_PARTS.get(part, part) for part in parts)
    return "/".join((folder.name, *safe))


def _document(job: Job) -> dict[str, object]:
    """Return a job as its client sees it, with its request, and with files in place of links."""
    images = Folder("images", "", f"{job.client_id}/")

    def link(key: str, until: datetime) -> Link:
        return Link(file_name(images, key), until)

    response = job_response(job, link).model_dump(
        mode="json", exclude={"images": {"__all__": {"image_b64", "expires_at"}}}
    )
    request = job.request.model_dump(mode="json", exclude={"init_image"}, warnings=False)
    init_image = job.init_image_key and file_name(images, job.init_image_key)
    return {**response, "request": request, "seeds": job.seeds, "init_image": init_image}


def _webhook(data: ClientData) -> Iterator[str]:
    """Return the endpoint as the client sees it, if it has one. The secret is made, not stored."""
    settings = data.webhooks.settings(data.client_id)
    if settings.url is not None:
        yield webhook_response(settings).model_dump_json()


def _deliveries(data: ClientData) -> Iterator[str]:
    cursor: str | None = None
    while True:
        page, cursor = data.webhooks.deliveries(
            data.client_id, status=None, cursor=cursor, limit=_PAGE
        )
        for delivery in page:
            yield delivery_response(delivery).model_dump_json()
        if cursor is None:
            return


def _batches(data: ClientData) -> Iterator[str]:
    """Return the records of batches. Their lines and results are files of the client's folder."""
    cursor: str | None = None
    while True:
        page, cursor = data.batches.page(data.client_id, limit=_PAGE, cursor=cursor, now=_EVER)
        for batch in page:
            yield batch_response(batch, batch.counts).model_dump_json()
        if cursor is None:
            return


def _usage(data: ClientData) -> Iterator[str]:
    yield "date,pictures,cost_usd,reserved_usd"
    for day, usage in data.days():
        amounts = (micros / MICROS_PER_DOLLAR for micros in (usage.spent, usage.reserved))
        yield _row([day, usage.images, *amounts])


def _tokens(data: ClientData) -> Iterator[str]:
    yield _row(["id", "name", "created", "expires", "revoked", "scopes", *ClientLimits._fields])
    for token in data.tokens.of(data.client_id):
        times = (token.created_at, token.expires_at, token.revoked_at)
        iso = (time.isoformat() if time else "" for time in times)
        scopes = " ".join(sorted(token.scopes))
        yield _row([token.sha256[:ID_DIGITS], token.name, *iso, scopes, *token.limits])


def _row(cells: Iterable[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(cells)
    return line.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
