"""make token, make clients and make revoke: how arguments are parsed, and which are rejected."""

from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta

import pytest

from ops import clients as command
from ops.stacks import StackError
from sd3.domain.billing import dollars
from sd3.errors import StorageError


@pytest.mark.parametrize(
    ("text", "micros", "shown"),
    [
        ("5", 5_000_000, "5.00"),
        ("5.00", 5_000_000, "5.00"),
        ("0", 0, "0.00"),
        ("0.000001", 1, "0.000001"),
        ("0.1", 100_000, "0.10"),
        ("1.005", 1_005_000, "1.005"),
        ("999999999.999999", 999_999_999_999_999, "999999999.999999"),
    ],
)
def test_dollars_are_exact(text: str, micros: int, shown: str) -> None:
    assert command.micros(text) == micros
    assert dollars(micros) == shown


@pytest.mark.parametrize(
    "text",
    ["", "-5", "+5", "5.", ".5", "5.0000001", "1e3", "NaN", "inf", "$5", "5,00", "1_0", "\u0665",
     " 5", "5\n", "1000000000", "unlimited"],
)  # fmt: skip
def test_an_invalid_amount_is_rejected(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="a budget is dollars"):
        command.micros(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "17", "1.5", "4 ", "\u0664", "many", "9" * 5000])
def test_an_invalid_number_of_images_is_rejected(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="a whole number from 1 to 16"):
        command.up_to(16)(text)


@pytest.mark.parametrize("text", ["1", "16", "016"])
def test_a_number_of_images_is_read(text: str) -> None:
    assert command.up_to(16)(text) == int(text)


def test_an_expiry_is_days_away_or_a_time() -> None:
    away = command.expiry("30d") - datetime.now(UTC)
    assert timedelta(days=29, hours=23) < away <= timedelta(days=30)
    assert command.expiry("2026-12-31") == datetime(2026, 12, 31, tzinfo=UTC)
    assert command.expiry("2026-12-31T10:00+02:00") == datetime(2026, 12, 31, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "d", "30", "30 d", "-1d", "1.5d", "soon", "2026-13-01", "0001-01-01T00:00+14:00"]
)
def test_an_invalid_expiry_is_rejected(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="neither a number of days"):
        command.expiry(text)


def test_an_expiry_beyond_all_dates_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ArgumentTypeError, match="neither a number of days"):
        command.expiry("9999-12-31T23:59-10:00")


@pytest.mark.parametrize("text", ["", "write", "read,", "read, generate", "READ", "read generate"])
def test_an_unknown_scope_is_rejected(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="a scope is one of generate, read"):
        command.scopes(text)


def test_scopes_are_read() -> None:
    assert command.scopes("read,generate,read") == {"read", "generate"}


@pytest.mark.parametrize("text", ["", " ", "a\nb", "\x1b[31m", "x" * 101])
def test_what_cannot_be_shown_is_no_name(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="a name is"):
        command.shown_name(text)


class FakeStore:
    """A store whose calls fail with `error` and are recorded in `calls`."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.error: Exception = ValueError("there is no client 'x'")

    def tokens(self) -> "FakeStore":
        return self

    def issue(self, client_id: str, **_: object) -> str:
        self.calls.append(client_id)
        raise self.error

    def revoke(self, client_id: str, _prefix: str | None) -> int:
        self.calls.append(client_id)
        raise self.error

    def all(self) -> list[object]:
        raise self.error


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    store = FakeStore()
    monkeypatch.setattr(command, "find_stack", lambda _: store)
    return store


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["token"],
        ["token", "-a"],
        ["token", "acme", "--scopes=write"],
        ["token", "acme", "--budget=-5"],
        ["token", "acme", "--budget=0.0000001"],
        ["token", "acme", "--budget="],
        ["token", "acme", "--per-minute=0"],
        ["token", "acme", "--max-images=17"],
        ["token", "acme", "--expires=soon"],
        ["revoke"],
    ],
)
def test_wrong_arguments_do_nothing(
    store: FakeStore, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert not store.calls
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["token", "x"], "no token was issued"),
        (["clients"], "not listed"),
        (["revoke", "x", "--token=ab"], "not revoked"),
    ],
)
@pytest.mark.parametrize("error", [ValueError("a"), StorageError("b"), StackError("c")])
def test_a_failure_is_reported(
    store: FakeStore,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
    error: Exception,
) -> None:
    store.error = error
    assert command.main([*arguments, "--stack", ""]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", f"{message}: {error}\n")
