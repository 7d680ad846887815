"""A quota of CPU time, as Lambda gives a function by its memory, from Linux's control groups."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

CPU_MB: Final = 1769
"""The memory in MB at which Lambda gives a function a whole CPU."""

PERIOD_MICROSECONDS: Final = 20_000
"""The time in which a quota is used up: a shorter one spreads it more evenly."""

GROUPS: Final = Path("/sys/fs/cgroup")

Move = Callable[[int], None]
"""Moves a process, by its id, with all of its threads."""


class NoQuotaError(Exception):
    """This machine lets nobody set a quota, or not us. The message says why."""


@contextmanager
def cpu_quota(memory_mb: int, groups: Path = GROUPS) -> Iterator[Move]:
    """Make a control group with the CPU time of a function of `memory_mb`, and remove it.

    Yields what moves processes into it. When the block ends, they must have ended. Raises
    NoQuotaError.
    """
    quota = PERIOD_MICROSECONDS * memory_mb // CPU_MB
    above, limits = _version(groups, quota)
    group = above / f"sd3-benchmark-{os.getpid()}-{memory_mb}"
    try:
        group.mkdir()
    except OSError as error:
        raise NoQuotaError(f"no control group can be made: {error.strerror}") from error
    try:
        _write(group, limits)
        yield lambda pid: _write(group, {"cgroup.procs": str(pid)})
    finally:
        group.rmdir()


def _version(groups: Path, quota: int) -> tuple[Path, dict[str, str]]:
    """Return the folder of control groups for CPU time, and what to write into one of them."""
    if (groups / "cgroup.controllers").exists():
        with suppress(OSError):  # then the limit cannot be written, which says why
            (groups / "cgroup.subtree_control").write_text("+cpu")
        return groups, {"cpu.max": f"{quota} {PERIOD_MICROSECONDS}"}
    for name in ("cpu", "cpu,cpuacct"):
        if (groups / name / "cpu.cfs_quota_us").exists():
            limits = {"cpu.cfs_period_us": PERIOD_MICROSECONDS, "cpu.cfs_quota_us": quota}
            return groups / name, {file: str(value) for file, value in limits.items()}
    raise NoQuotaError("there are no control groups for CPU time")


def _write(group: Path, limits: dict[str, str]) -> None:
    for file, value in limits.items():
        try:
            (group / file).write_text(value)
        except OSError as error:
            raise NoQuotaError(f"{file} cannot be written: {error.strerror}") from error
