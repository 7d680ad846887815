"""Quotas of CPU time in control groups, of which both versions are files in folders."""

import os
import shutil
from pathlib import Path

import pytest

from benchmarks.cpu_quota import NoQuotaError, cpu_quota


@pytest.fixture(autouse=True)
def control_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder be removed with its files, as Linux does for control groups."""
    monkeypatch.setattr(Path, "rmdir", shutil.rmtree)


def version_1(groups: Path, name: str) -> Path:
    above = groups / name
    above.mkdir()
    (above / "cpu.cfs_quota_us").write_text("-1")
    return above


def version_2(groups: Path) -> Path:
    (groups / "cgroup.controllers").write_text("cpu memory")
    return groups


def read(group: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in group.iterdir()}


@pytest.mark.parametrize("name", ["cpu", "cpu,cpuacct"])
def test_the_quota_of_version_1_is_a_part_of_a_period(tmp_path: Path, name: str) -> None:
    above = version_1(tmp_path, name)
    with cpu_quota(512, tmp_path) as move:
        [group] = filter(Path.is_dir, above.iterdir())
        move(7)
        assert read(group) == {
            "cpu.cfs_period_us": "20000",
            "cpu.cfs_quota_us": "5788",
            "cgroup.procs": "7",
        }
    assert not group.exists()


def test_the_quota_of_version_2_is_a_part_of_a_period(tmp_path: Path) -> None:
    above = version_2(tmp_path)
    with cpu_quota(1769, tmp_path) as move:
        [group] = filter(Path.is_dir, above.iterdir())
        move(os.getpid())
        assert read(group) == {"cpu.max": "20000 20000", "cgroup.procs": str(os.getpid())}
    assert (above / "cgroup.subtree_control").read_text() == "+cpu"
    assert not group.exists()


def test_quotas_of_several_sizes_can_be_set_at_once(tmp_path: Path) -> None:
    above = version_1(tmp_path, "cpu")
    with cpu_quota(512, tmp_path), cpu_quota(1024, tmp_path):
        assert len(list(filter(Path.is_dir, above.iterdir()))) == 2
    assert not list(filter(Path.is_dir, above.iterdir()))


def test_a_machine_without_control_groups_says_so(tmp_path: Path) -> None:
    with pytest.raises(NoQuotaError, match="no control groups"), cpu_quota(512, tmp_path):
        pytest.fail("there is no quota")


def test_a_limit_that_cannot_be_written_says_so_and_leaves_no_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    above = version_1(tmp_path, "cpu")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "write_text", refuse)
    with (
        pytest.raises(NoQuotaError, match="cannot be written: Permission denied"),
        cpu_quota(512, tmp_path),
    ):
        pytest.fail("there is no quota")
    assert not list(filter(Path.is_dir, above.iterdir()))


def test_a_group_that_cannot_be_made_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_1(tmp_path, "cpu")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(NoQuotaError, match="can be made"), cpu_quota(512, tmp_path):
        pytest.fail("there is no quota")
