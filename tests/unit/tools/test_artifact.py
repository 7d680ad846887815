"""A build that cannot run on AWS Lambda is an error."""

import struct
from pathlib import Path

import pytest

from tools.artifact import _MAX_BYTES, _MAX_OPTIONAL_BYTES, faults, main


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
        ("c2pa/libs/libc2pa_c.so", ARM, None),
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
    assert "1.0 MB and 0.0 of C2paLayer unzipped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "bound", "fault"),
    [
        ("a.py", "_MAX_BYTES", "1.0 MB unzipped, more than"),
        ("C2paLayer/a.py", "_MAX_OPTIONAL_BYTES", "C2paLayer: 1.0 MB unzipped, more than"),
        ("C2paLayer/a.py", "_MAX_BYTES", None),
        ("a.py", "_MAX_OPTIONAL_BYTES", None),
    ],
)
def test_a_too_large_artifact_is_an_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    bound: str,
    fault: str | None,
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(bytes(2**20))
    monkeypatch.setattr(f"tools.artifact.{bound}", 2**19)
    assert main(tmp_path) == (1 if fault else 0)
    assert (fault or "") in capsys.readouterr().err


def test_all_layers_together_are_within_lambdas_bound() -> None:
    """250 MB unzipped: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
    assert _MAX_BYTES + _MAX_OPTIONAL_BYTES < 250 * 10**6


def test_an_empty_build_is_an_error(tmp_path: Path) -> None:
    assert main(tmp_path) == 1
