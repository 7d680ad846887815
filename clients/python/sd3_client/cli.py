"""The command sd3: generate images from a shell."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from sd3_client.client import Client
from sd3_client.errors import (
    InvalidRequestError,
    RateLimitedError,
    Sd3Error,
    StillRunningError,
    UnavailableError,
    UnreachableError,
)
from sd3_client.models import Batch, Image, Job, Options
from sd3_client.progress import Progress

FAILED, WRONG, LATER, INTERRUPTED = 1, 2, 3, 130
_Work = TypeVar("_Work", Job, Batch)
_LATER = (RateLimitedError, StillRunningError, UnavailableError, UnreachableError)
_FORMATS = {".jpg": "jpeg", ".jpeg": "jpeg", ".png": "png", ".webp": "webp", ".avif": "avif"}
_EPILOG = """\
Address and token are SD3_API_URL and SD3_API_TOKEN of the environment. Names of written files go
to stdout, everything else to stderr. Exit codes: 0 all is there, 1 the job or an image has failed,
2 the command or the request is wrong, 3 not now, 130 interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        _check_target(options.output, options.formats)
        code: int = options.run(Client(), options)
    except Sd3Error as error:
        _say(f"{error}" + (f"\n  request {error.request_id}" if error.request_id else ""))
        if isinstance(error, InvalidRequestError):
            return WRONG
        return LATER if isinstance(error, _LATER) else FAILED
    except (OSError, ValueError) as error:
        _say(str(error))
        return WRONG
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sd3", description=__doc__, epilog=_EPILOG)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    generate = commands.add_parser("generate", help="generate images", epilog=_EPILOG)
    generate.set_defaults(run=_generate)
    generate.add_argument("prompt", help="what to generate")
    generate.add_argument("-n", dest="num_images", type=int, metavar="N", help="images, 1 to 16")
    generate.add_argument("--size", type=_size, help="such as 1216x832", metavar="WxH")
    generate.add_argument("--seed", type=int, help="the same seed gives the same image again")
    generate.add_argument("--steps", type=int, help="diffusion steps, 1 to 200")
    generate.add_argument(
        "--negative", dest="negative_prompt", metavar="TEXT", help="what it should not show"
    )
    generate.add_argument(
        "--init", dest="init_image", type=Path, metavar="FILE", help="an image to start from"
    )
    generate.add_argument("--strength", type=float, help="how far to leave it, up to 1")
    generate.add_argument(
        "--key", dest="idempotency_key", help="what is sent again with its key is paid once"
    )
    generate.add_argument("--queue", action="store_true", help="queue short work too")
    wait = commands.add_parser("wait", help="wait for a job", epilog=_EPILOG)
    wait.set_defaults(run=_wait)
    wait.add_argument("job", help="the id of the job")
    for command in (generate, wait):
        command.set_defaults(formats=_FORMATS)
        command.add_argument(
            "-o", dest="output", type=Path, metavar="FILE",
            help="where to write: .jpg, .png, .webp or .avif; fox-0.jpg and so on for several",
        )  # fmt: skip
        command.add_argument("--json", action="store_true", help="print the job to stdout")
        command.add_argument("--timeout", type=float, default=900, help="seconds to wait (900)")
    batch = commands.add_parser("batch", help="send a file of requests", epilog=_EPILOG)
    batch.set_defaults(run=_batch, formats=(".jsonl",))
    source = batch.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "file", type=Path, nargs="?", help="JSON lines, each with a prompt and a custom_id"
    )
    source.add_argument("--wait", metavar="BATCH", help="the id of a batch that was sent before")
    batch.add_argument("-o", dest="output", type=Path, required=True, help="where results go")
    batch.add_argument("--timeout", type=float, default=86400, help="seconds to wait (86400)")
    return parser


def _size(text: str) -> tuple[int, int]:
    """Read 1216x832. The service knows which sizes there are."""
    if not (sides := re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)):
        msg = f"{text!r} is not like 1216x832"
        raise argparse.ArgumentTypeError(msg)
    return int(sides[1]), int(sides[2])


def _check_target(output: Path | None, formats: Iterable[str]) -> None:
    """Refuse what cannot be written before anything is paid."""
    if output is None:
        return
    if output.suffix.lower() not in formats:
        msg = f"{output}: the name should end in {', '.join(formats)}"
        raise ValueError(msg)
    if output.is_dir() or not os.access(output.parent, os.W_OK):
        msg = f"{output}: cannot be written there"
        raise ValueError(msg)


def _generate(client: Client, options: argparse.Namespace) -> int:
    names = ("num_images", "seed", "steps", "negative_prompt", "strength", "idempotency_key")
    given = {name: getattr(options, name) for name in names}
    fields: Options = {name: each for name, each in given.items() if each is not None}  # type: ignore[assignment]
    if options.init_image:
        fields["init_image"] = options.init_image.read_bytes()
    if options.size:
        fields["width"], fields["height"] = options.size
    if options.output and options.output.suffix.lower() == ".png":
        fields["image_encoding"] = "png"
    fields["queue"] = options.queue

    def run(watch: Callable[[Job], object]) -> Job:
        return client.generate(options.prompt, timeout=options.timeout, on_update=watch, **fields)

    job = _watched(run, client.cancel)
    return _written(job, options) if job else INTERRUPTED


def _wait(client: Client, options: argparse.Namespace) -> int:
    def run(watch: Callable[[Job], object]) -> Job:
        return client.wait(options.job, timeout=options.timeout, on_update=watch)

    job = _watched(run)
    return _written(job.raise_for_error(), options) if job else INTERRUPTED


def _batch(client: Client, options: argparse.Namespace) -> int:
    def run(watch: Callable[[Batch], object]) -> Batch:
        batch = options.wait or client.batches.submit(options.file)
        if isinstance(batch, Batch):
            watch(batch)
        return client.batches.wait(batch, timeout=options.timeout, on_update=watch)

    batch = _watched(run, None if options.wait else client.batches.cancel)
    if batch is None:
        return INTERRUPTED
    counts = ", ".join(f"{number} {name}" for name, number in batch.request_counts.items())
    _say(f"batch {batch.id} {batch.status}: {counts}, ${batch.cost_usd:.2f}")
    if batch.error:
        _say(f"{batch.error.get('code')}: {batch.error.get('message')}")
        return FAILED
    with options.output.open("w") as file:
        file.writelines(json.dumps(line) + "\n" for line in client.batches.results(batch))
    print(options.output)
    return FAILED if batch.request_counts.get("failed") else 0


def _watched(
    run: Callable[[Callable[[_Work], object]], _Work],
    cancel: Callable[[_Work], _Work] | None = None,
) -> _Work | None:
    """Show how a job or a batch goes on. Ctrl-C cancels it, where there is a way."""
    seen: list[_Work] = []
    try:
        with Progress(sys.stderr) as progress:

            def watch(work: _Work) -> None:
                seen[:] = [work]
                progress.update(work)

            return run(watch)
    except _LATER as error:
        goes_on = next((each.id for each in seen if not each.has_ended), None)
        if goes_on is None and isinstance(error, StillRunningError):
            goes_on = error.job_id
        if goes_on:
            command = "batch --wait" if seen and isinstance(seen[0], Batch) else "wait"
            _say(f"{goes_on} goes on, and is paid: sd3 {command} {goes_on}")
        raise
    except KeyboardInterrupt:
        if not seen:
            _say("interrupted before an answer came: a job that was made goes on, and is paid")
            return None
    [work] = seen
    if cancel is None:
        _say(f"interrupted: {work.id} goes on")
        return None
    try:
        _say(f"interrupted: {work.id} was canceled: ${cancel(work).cost_usd:.2f}")
    except Sd3Error as error:
        _say(f"interrupted: {work.id} was not canceled: {error}")
    return None


def _written(job: Job, options: argparse.Namespace) -> int:
    """Write the images of a job, and return the exit code."""
    if options.json:
        print(json.dumps(job.raw))
    complete = True
    for image in job.images:
        if image.url is None:
            why = "removed for safety" if image.removed_for_safety else "failed"
            _say(f"image {image.index}: {(image.error or {}).get('message', why)}")
            complete = False
        elif options.output or not options.json:
            path = _path(options.output, job, image)
            try:
                path.write_bytes(_bytes(image, path))
            except (Sd3Error, OSError):
                _say(f"job {job.id} is paid, and has its images: sd3 wait {job.id}")
                raise
            print(path, file=sys.stderr if options.json else sys.stdout)
    _say(f"job {job.id} {job.status}, ${job.cost_usd:.2f}")
    return 0 if complete else FAILED


def _path(output: Path | None, job: Job, image: Image) -> Path:
    if output is None:
        kind = (image.content_type or "image/jpeg").removeprefix("image/")
        output = Path(f"{job.id}.{kind.replace('jpeg', 'jpg')}")
    if len(job.images) == 1:
        return output
    return output.with_name(f"{output.stem}-{image.index}{output.suffix}")


def _bytes(image: Image, path: Path) -> bytes:
    """Fetch an image in the format that the file's name says."""
    kind = _FORMATS[path.suffix.lower()]
    return image.download(**({} if image.content_type == f"image/{kind}" else {"format": kind}))


def _say(text: str) -> None:
    """Print to stderr, without what a terminal would take for a command."""
    shown = "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
    print(f"sd3: {shown}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
