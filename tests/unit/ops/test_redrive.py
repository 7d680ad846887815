"""make redrive: how it parses times, and what it prints."""

from datetime import UTC, datetime
from typing import Any

import pytest

from ops import redrive
from ops.stacks import StackError
from sd3.errors import StorageError


@pytest.mark.parametrize(
    ("text", "hour"),
    [("2026-11-23", 0), ("2026-11-23T09:00", 9), ("2026-11-23T09:00+02:00", 7)],
)
def test_a_time_without_a_zone_is_utc(text: str, hour: int) -> None:
    assert redrive.moment(text) == datetime(2026, 11, 23, hour, tzinfo=UTC)


@pytest.mark.parametrize("times", [["", ""], ["yesterday", "today"], ["2026-11-23"]])
def test_an_invalid_time_is_rejected(times: list[str]) -> None:
    with pytest.raises(SystemExit):
        redrive.main(times)


@pytest.fixture
def calls_to_redrive(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    calls: list[dict[str, Any]] = []

    def fake(_deployed: object, **times: Any) -> int:
        calls.append(times)
        return 3

    monkeypatch.setattr(redrive, "find_stack", lambda _: object())
    monkeypatch.setattr(redrive, "redrive", fake)
    return calls


def test_the_jobs_are_counted(
    calls_to_redrive: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert redrive.main(["2026-11-23", "2026-11-24T12:00", "--stack", ""]) == 0
    assert capsys.readouterr().out == "3 jobs put back\n"
    [times] = calls_to_redrive
    assert times["since"] == datetime(2026, 11, 23, tzinfo=UTC)
    assert times["until"] == datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize("error", [StackError("no stack"), StorageError("no table")])
def test_an_incomplete_redrive_reports_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def find_stack(_: str) -> None:
        raise error

    monkeypatch.setattr(redrive, "find_stack", find_stack)
    assert redrive.main(["2026-11-23", "2026-11-24"]) == 1
    assert "run it again" in capsys.readouterr().err
