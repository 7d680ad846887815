"""What make run refuses before it starts anything."""

from pathlib import Path

import pytest

from local.__main__ import main


def test_a_secret_that_cannot_sign_is_refused_and_not_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # pytest keeps its own
    secret = tmp_path / "c2pa.json"
    secret.write_text("sk-1")
    assert main(["--c2pa", str(secret)], state=tmp_path) == 1
    assert f"{secret} cannot sign images: it is not JSON" in (said := capsys.readouterr().out)
    assert "sk-1" not in said
