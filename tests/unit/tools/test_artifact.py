"""A build that cannot run on AWS Lambda is an error."""

import struct
from pathlib import Path

import pytest

from tools.artifact import faults, main


def elf(machine: int) -> bytes:
    return b"\x7fELF" + bytes(14) + struct.pack("<H", machine)


ARM, INTEL = elf(183), elf(62)
BYTECODE_313, BYTECODE_311 = struct.pack("<H", 3571) + b"\r\n", struct.pack("<H", 3495) + b"\r\n"


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.cpython-313-aarch64-linux-gnu.so", ARM, None),
        ("a.abi3.so", ARM, None),
        ("a.cpython-313-aarch64-linux-gnu.so", INTEL, "ELF machine 62"),
        ("a.cpython-311-aarch64-linux-gnu.so", ARM, "none of the tags"),
        ("program", INTEL, "ELF machine 62"),
        ("some.libs/libjpeg-80045241.so.62.4.0", ARM, None),
        ("some.libs/libjpeg-80045241.so.62.4.0", INTEL, "ELF machine 62"),
        ("libjpeg-80045241.so.62.4.0", ARM, "none of the tags"),
        ("a.cpython-313.pyc", BYTECODE_313, None),
        ("a.cpython-311.pyc", BYTECODE_311, "not of Python 3.13"),
        ("a.pyc", b"", "not of Python 3.13"),
        ("a.py", b"", None),
    ],
)
def test_what_cannot_run_on_lambda_is_named(
    tmp_path: Path, name: str, content: bytes, fault: str | None
) -> None:
    file = tmp_path / "python" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    found = list(faults(tmp_path))
    assert len(found) == (1 if fault else 0)
    assert all(fault and fault in line and name in line for line in found)


def test_a_good_artifact_reports_its_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_bytes(bytes(2**20))
    assert main(tmp_path) == 0
    assert "1.0 MB unzipped" in capsys.readouterr().out


def test_a_too_large_artifact_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.py").write_bytes(bytes(2**20))
    monkeypatch.setattr("tools.artifact._MAX_BYTES", 2**19)
    assert main(tmp_path) == 1
    assert "1.0 MB unzipped, more than" in capsys.readouterr().err


def test_an_empty_build_is_an_error(tmp_path: Path) -> None:
    assert main(tmp_path) == 1
