"""The rate limiter of one upstream under load, in virtual time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import ceil
from random import Random
from typing import Any, Final, cast

from benchmarks.gate_table import GateTable
from benchmarks.rate_limit_item import RateLimitItem
from benchmarks.table import Note
from benchmarks.virtual_time import VirtualTime
from sd3.domain.generation import TaskOrigin
from sd3.errors import Sd3Error, StorageError, UpstreamFailedError, UpstreamRateLimitedError
from sd3.settings import Rate
from sd3.upstreams.dispatch import Permit
from sd3.upstreams.rate_limit.limiter import SharedRateLimiter
from sd3.upstreams.rate_limit.schedule import MICROSECONDS, LimiterState, RateBounds, grantable
from sd3.upstreams.rate_limit.table import RateLimitTable

UNBOUNDED: Final = RateBounds()
BOUNDED: Final = RateBounds(rate=Rate(2000, 1))
LOADS: Final = (
    *((UNBOUNDED, rate) for rate in (500, 1000, 3000)),
    *((BOUNDED, rate) for rate in (500, 1000, 2000, 3000)),
)
"""Bounds, and the calls a second that are to be made."""
OUTAGE_LOADS: Final = ((UNBOUNDED, 1000), (UNBOUNDED, 3000), (BOUNDED, 1000))
SECONDS: Final = 4
OUTAGE_SECONDS: Final = (2, 22)
"""When the outage begins and ends."""
AFTER_OUTAGE_SECONDS: Final = 20
"""Longer than the upstream's rest, which is 20 s at its third failed probe."""
FAILED_SHARE: Final = 0.01
PATIENCE_SECONDS: Final = 1
CALL_SECONDS: Final = (0.2, 0.6)
"""The shortest and the longest call to the upstream. Real ones take seconds; then more processes
call at once, each of them less often."""
CLIENTS: Final = 20
_START: Final = 1_800_000_000.0
_SKEW_SECONDS: Final = 0.005


@dataclass
class Gate:
    """Calls of many processes to one upstream, and what became of them."""

    bounds: RateBounds
    random: Random
    failed_share: float = 0.0
    outage: tuple[float, float] = (0.0, 0.0)
    time: VirtualTime = field(default_factory=VirtualTime)
    waits: list[float] = field(default_factory=list)
    """How long each call waited for its permit or its refusal, in seconds, without its slot."""
    begun: list[float] = field(default_factory=list)
    """When each call began that was made."""
    refused: list[float] = field(default_factory=list)
    wrongly: list[float] = field(default_factory=list)
    """When calls were refused, and of these those for which a slot was free."""
    _idle: list[SharedRateLimiter] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = GateTable(self.time, self.random)
        self._home = RateLimitTable(cast("Any", self.table), "upstreams", "vendor")

    def arrive(self, rate: float, seconds: float) -> None:
        """Start as many calls as come in `seconds`, each at a random moment of them."""
        moments = sorted(self.random.uniform(0, seconds) for _ in range(round(rate * seconds)))
        for number, moment in enumerate(moments):
            self.time.sleep(moment - self.time.now)
            self.time.start(partial(self._live, TaskOrigin(self._client(), f"job-{number}")))

    def calls_between(self, since: float, until: float) -> int:
        """Count the calls that were made in a time."""
        return sum(since <= at < until for at in self.begun)

    def milliseconds(self, share: float) -> float:
        """Return the time within which a share of the callers had their permit or refusal."""
        return sorted(self.waits)[ceil(share * len(self.waits)) - 1] * 1000

    def _live(self, origin: TaskOrigin) -> None:
        """Have a process that is idle, the last that became so, make a call."""
        limiter = self._idle.pop() if self._idle else self._process()
        began = self.time.now
        permit = self._acquire(limiter, origin)
        self.waits.append(self.time.now - began)
        if permit:
            self.time.sleep(permit.waits[0])
            limiter.release(permit, [self._call()])
        self._idle.append(limiter)

    def _acquire(self, limiter: SharedRateLimiter, origin: TaskOrigin) -> Permit | None:
        try:
            return limiter.acquire(1, patience=PATIENCE_SECONDS, origin=origin)
        except (UpstreamRateLimitedError, StorageError):
            self.refused.append(self.time.now)
            if self._has_room():
                self.wrongly.append(self.time.now)
            return None

    def _call(self) -> Sd3Error | None:
        self.begun.append(self.time.now)
        since, until = self.outage
        fails = since <= self.time.now < until or self.random.random() < self.failed_share
        self.time.sleep(self.random.uniform(*CALL_SECONDS))
        return UpstreamFailedError("It broke.") if fails else None

    def _process(self) -> SharedRateLimiter:
        skew = self.random.uniform(-_SKEW_SECONDS, _SKEW_SECONDS)
        return SharedRateLimiter(
            self._home, bounds=self.bounds, clock=lambda: _START + self.time.now + skew
        )

    def _client(self) -> str:
        return f"client-{self.random.randrange(CLIENTS)}"

    def _has_room(self) -> bool:
        """Return whether an item had a slot well within a caller's patience."""
        now = int((_START + self.time.now) * MICROSECONDS)
        latest = now + int(0.9 * PATIENCE_SECONDS * MICROSECONDS)
        return any(
            grantable(self._state(number), part, 1, now=now, latest=latest) > 0
            for number, part in enumerate(self.bounds.shards())
        )

    def _state(self, number: int) -> LimiterState:
        name = self._home.shard(number).name
        copy = RateLimitItem()  # so that this read is not counted
        copy.values = self.table.items.by_id[name].values
        return RateLimitTable(cast("Any", copy), "", name).read()


def measure(_rounds: int) -> Iterator[Note]:
    """Have calls come at each load: to a healthy upstream, a failing one, and through an outage.

    Raises RuntimeError when a window has more calls than the bound allows.
    """
    title = f"calls come to one upstream for {SECONDS} s, virtual time"
    yield Note(title, "aims: nothing refused that had a slot; nothing throttled")
    for bounds, rate in LOADS:
        for share in (0.0, FAILED_SHARE):
            gate = run(bounds, rate, failed_share=share)
            state = f"{share:.0%} fail" if share else "healthy"
            yield Note(f"{_name(bounds, rate)}, {state}", text(gate))
    began, ended = OUTAGE_SECONDS
    yield Note(f"an outage of {ended - began} s", "")
    for bounds, rate in OUTAGE_LOADS:
        gate = run(bounds, rate, outage=OUTAGE_SECONDS, seconds=ended + AFTER_OUTAGE_SECONDS)
        yield Note(_name(bounds, rate), outage_text(gate))


def run(
    bounds: RateBounds,
    rate: float,
    *,
    failed_share: float = 0.0,
    outage: tuple[float, float] = (0.0, 0.0),
    seconds: float = SECONDS,
) -> Gate:
    """Run the calls that come in `seconds` until all have ended."""
    gate = Gate(bounds, Random(1), failed_share, outage)  # noqa: S311 - nothing secret
    gate.time.start(partial(gate.arrive, rate, seconds))
    gate.time.run()
    if bounds.rate and most_in_window(gate.begun, bounds.rate.seconds) > bounds.rate.calls:
        raise RuntimeError("a window has more calls than the bound allows")
    return gate


def most_in_window(moments: Sequence[float], seconds: float) -> int:
    """Return the most moments of any window of so many seconds."""
    ordered, first, most = sorted(moments), 0, 0
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def text(gate: Gate) -> str:
    """Judge a run: nothing refused that had a slot, and nothing throttled."""
    verdict = "missed" if gate.wrongly or gate.table.throttled else "met"
    return (
        f"refused {len(gate.refused)} of {len(gate.waits)}, with a slot free {len(gate.wrongly)}; "
        f"{_costs(gate)}: {verdict}"
    )


def outage_text(gate: Gate) -> str:
    """Say what an outage cost, and when no call was refused any more."""
    began, ended = gate.outage
    later = max([*gate.refused, ended]) - ended
    return (
        f"{gate.calls_between(began, ended)} calls in it, all call again {later:.1f} s after it; "
        f"{_costs(gate)}"
    )


def _costs(gate: Gate) -> str:
    calls, items = len(gate.waits), gate.table.items
    return (
        f"a call {items.writes / calls:.2f} writes, {items.reads / calls:.2f} reads; "
        f"throttled {gate.table.throttled}; "
        f"p50 {gate.milliseconds(0.5):.0f} ms, p99 {gate.milliseconds(0.99):.0f} ms"
    )


def _name(bounds: RateBounds, rate: float) -> str:
    bound = f"{bounds.rate.calls} allowed" if bounds.rate else "no bound"
    return f"{rate} a second, {bound}"
