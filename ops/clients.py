"""python -m ops.clients token|clients|revoke: who may call the service, for what and how much."""

import argparse
import re
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from botocore.exceptions import BotoCoreError, ClientError

from ops.redrive import moment
from ops.stacks import StackError, find_stack
from sd3.adapters.dynamodb.token_admin import TokenStore
from sd3.domain.billing import dollars
from sd3.domain.client import SCOPES, ClientLimits, Token
from sd3.domain.request_checks import MAX_IMAGES
from sd3.errors import StorageError

ID_DIGITS: Final = 8
"""Digits of a token's hash that identify the token. They do not authenticate."""
MAX_PER_MINUTE: Final = 6000
"""What the gateway lets through of `POST /generate/sd3`, for all clients together."""

_LIFTED: Final = "none"
_DAYS: Final = re.compile("([0-9]{1,5})d")
_DOLLARS: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")
_MAX_NAME: Final = 100
_HEADER: Final = (
    "client", "token", "created", "expires", "revoked", "scopes", "budget", "per minute",
    "max images", "name",
)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Run the command and return the exit status; a new token is printed last, alone on a line.

    Raises SystemExit for invalid arguments.
    """
    options = _parser().parse_args(arguments)
    try:
        options.act(find_stack(options.stack).tokens(), options)
    except (StackError, ValueError, StorageError, BotoCoreError, ClientError) as error:
        print(f"{options.failed}: {error}", file=sys.stderr)
        return 1
    return 0


def _issue(store: TokenStore, options: argparse.Namespace) -> None:
    given = vars(options)
    token = store.issue(
        options.client,
        name=options.name,
        scopes=options.scopes,
        expires_at=options.expires,
        limits={name: given[name] for name in ClientLimits._fields if name in given},
    )
    print("The token is shown only now; the service stores only its hash.", file=sys.stderr)
    print(token)


def _list(store: TokenStore, _options: argparse.Namespace) -> None:
    for line in table([_HEADER, *map(_row, store.all())]):
        print(line)


def _revoke(store: TokenStore, options: argparse.Namespace) -> None:
    count = store.revoke(options.client, options.token)
    print(f"{count} token{'' if count == 1 else 's'} revoked, accepted for up to 60 s more")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make", description=__doc__)
    commands = parser.add_subparsers(required=True)
    token = commands.add_parser("token", help="issue a token to a client")
    token.set_defaults(act=_issue, failed="no token was issued")
    token.add_argument("client", metavar="CLIENT", help="1 to 63 of a-z, 0-9 and -")
    token.add_argument("--name", type=shown_name, help="what people call the client")
    token.add_argument("--expires", type=expiry, help="in days (30d), or an ISO time (UTC)")
    token.add_argument("--scopes", type=scopes, default=SCOPES, help="generate,read")
    scope = f"; for all tokens of the client, until it is set again; {_LIFTED} removes it"
    for flag, name, read, what in (
        ("--budget", "daily_budget_micros", micros, "dollars a day"),
        ("--per-minute", "requests_per_minute", up_to(MAX_PER_MINUTE), "requests a minute"),
        ("--max-images", "max_images", up_to(MAX_IMAGES), "the largest num_images"),
    ):
        token.add_argument(
            flag, dest=name, type=_liftable(read), default=argparse.SUPPRESS, help=what + scope
        )
    listing = commands.add_parser("clients", help="list the clients and their tokens")
    listing.set_defaults(act=_list, failed="not listed")
    revoking = commands.add_parser("revoke", help="end a client's tokens")
    revoking.set_defaults(act=_revoke, failed="not revoked")
    revoking.add_argument("client", metavar="CLIENT")
    revoking.add_argument("--token", help="only this token, by its id in `make clients`")
    for command in (token, listing, revoking):
        command.add_argument(
            "--stack", help="a stack in your AWS account, not the one running here"
        )
    return parser


# ---- Parsers of arguments: each raises ArgumentTypeError for an invalid text ---------------------


def shown_name(text: str) -> str:
    """Parse a name that can be shown on a line."""
    if not (text.isprintable() and text.strip() and len(text) <= _MAX_NAME):
        msg = f"a name is 1 to {_MAX_NAME} printable characters"
        raise ArgumentTypeError(msg)
    return text


def expiry(text: str) -> datetime:
    """Parse a number of days from now (`30d`) or an ISO 8601 time, in UTC if it has no zone."""
    try:
        if days := _DAYS.fullmatch(text):
            return datetime.now(UTC) + timedelta(days=int(days[1]))
        return moment(text)
    except (ValueError, OverflowError) as error:
        msg = f"neither a number of days, as 30d, nor an ISO time: {text!r}"
        raise ArgumentTypeError(msg) from error


def scopes(text: str) -> frozenset[str]:
    """Parse comma-separated scopes."""
    named = frozenset(text.split(","))
    if not named <= SCOPES:
        msg = f"a scope is one of {', '.join(sorted(SCOPES))}: {text!r}"
        raise ArgumentTypeError(msg)
    return named


def micros(text: str) -> int:
    """Parse dollars into micro-dollars, exactly."""
    if not _DOLLARS.fullmatch(text):
        msg = f"a budget is dollars with up to 6 decimals, as 5.00: {text!r}"
        raise ArgumentTypeError(msg)
    return int(Decimal(text).scaleb(6))


def up_to(largest: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from 1 to `largest`."""

    def read(text: str) -> int:
        if not (re.fullmatch("[0-9]{1,9}", text) and 1 <= int(text) <= largest):
            msg = f"a whole number from 1 to {largest}, not {text!r}"
            raise ArgumentTypeError(msg)
        return int(text)

    return read


def _liftable(read: Callable[[str], int]) -> Callable[[str], int | None]:
    return lambda text: None if text == _LIFTED else read(text)


# ---- Output --------------------------------------------------------------------------------------


def table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Format rows as lines of aligned columns."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _row(token: Token) -> tuple[str, ...]:
    budget, per_minute, max_images = token.limits[:3]
    return (
        token.client_id,
        token.sha256[:ID_DIGITS],
        *map(_shown, (token.created_at, token.expires_at, token.revoked_at)),
        ",".join(sorted(token.scopes)),
        "-" if budget is None else dollars(budget),
        *("-" if limit is None else str(limit) for limit in (per_minute, max_images)),
        token.name,
    )


def _shown(time: datetime | None) -> str:
    return f"{time:%Y-%m-%dT%H:%MZ}" if time else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
