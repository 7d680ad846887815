"""The calls to one upstream, in parallel and within its rate, with one result for each image."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import islice
from math import ceil
from typing import Final, NamedTuple, Protocol, TypeVar

from sd3.domain.billing import Charge, ChargeOutcome
from sd3.domain.generation import (
    NO_ORIGIN,
    GeneratedImage,
    GenerationTask,
    TaskOrigin,
    UpstreamResult,
)
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    Sd3Error,
    UnexpectedError,
    UpstreamRateLimitedError,
    UpstreamRefusedError,
    UpstreamThrottledError,
    UpstreamTimeoutError,
    UpstreamUnavailableError,
)
from sd3.settings import UpstreamSettings
from sd3.upstreams.base import Upstream

T = TypeVar("T")

_logger = logging.getLogger(__name__)

BACKOFF_SECONDS: Final = 1.0

MIN_CALL_SECONDS: Final = 10.0
"""The time reserved for the call while a caller that already has some images waits for a slot."""

LONG_STEPS: Final = 480
"""16 images of 30 steps. A call of more steps can take longer than a worker lives."""

TIMEOUT_FACTOR: Final = 1.1
"""How much longer a long call is taken to last than the time after which it was given up."""

PATIENCE_SECONDS: Final = 20.0
"""How long a caller waits for a slot. The wait and the call should end before the gateway's 29 s
are over. Longer waits belong to the queue, where they cost nothing."""

Result = GeneratedImage | Sd3Error
"""The result of one image."""

Batch = tuple[int, ...]
"""The images of one call, by their indexes."""


class Permit(NamedTuple):
    """Permission for one call after each wait, in seconds from now."""

    waits: tuple[float, ...]
    lease_holder: str = ""
    """Prefix of the names of its leases, where concurrency is bounded."""
    origin: TaskOrigin = NO_ORIGIN
    troubles: tuple[str, ...] = ()
    """What is recorded of calls that failed before, and is removed after a success."""
    probed: tuple[str, ...] = ()
    """The circuit breakers that are open, and that this caller probes."""
    shard: int = 0
    """The number of the rate limiter's item that has the leases."""


class RateLimiter(Protocol):
    """A limit on the rate at which all functions together call one upstream."""

    def acquire(self, calls: int, *, patience: float, origin: TaskOrigin = NO_ORIGIN) -> Permit:
        """Reserve slots for up to `calls` calls, at least one, the first within `patience` seconds.

        `origin` is the job that is called for. Raises UpstreamRateLimitedError when no slot begins
        in time, and StorageError.
        """

    def release(self, permit: Permit, errors: Sequence[Sd3Error | None]) -> float:
        """Record how the calls ended; raises nothing.

        Returns for how many seconds this opened the circuit breaker that stops everybody; 0 if not.
        """

    def seconds_per_step(self) -> float | None:
        """Return the time of one step of one image, if it was measured of late.

        Raises StorageError.
        """

    def note_step(self, seconds: float, *, is_least: bool) -> None:
        """Record the measured time of one step, or the least that it takes; raises nothing."""


@dataclass
class Calls:
    """The results of the calls to one upstream so far."""

    results: dict[int, Result] = field(default_factory=dict)
    milliseconds: float = 0.0
    were_made: bool = False
    """Whether the upstream was called at all."""
    open_seconds: float = 0.0
    """For how long they opened the circuit breaker that stops everybody."""

    @property
    def has_generated(self) -> bool:
        """Return whether at least one image was generated."""
        return any(isinstance(result, GeneratedImage) for result in self.results.values())

    @property
    def were_refused(self) -> bool:
        """Return whether the upstream itself rejected a call."""
        return any(isinstance(result, UpstreamRefusedError) for result in self.results.values())

    def add(self, batch: Batch, result: UpstreamResult | Sd3Error) -> None:
        """Add the result of one call."""
        if isinstance(result, Sd3Error):
            self.results |= dict.fromkeys(batch, result)
            return
        self.results |= dict(zip(batch, result.images, strict=True))
        self.milliseconds = max(self.milliseconds, result.prediction_time_ms)


@dataclass(frozen=True, kw_only=True)
class RateLimitedUpstream:
    """An upstream behind its rate limiter. Each of them is built when it is first used."""

    settings: UpstreamSettings
    make: Callable[[], Upstream]
    make_limiter: Callable[[Upstream], RateLimiter]
    clock: Callable[[], float]
    sleep: Callable[[float], None]
    jitter: Callable[[], float]

    @cached_property
    def upstream(self) -> Upstream:
        """Build the upstream. Raises ValueError for settings that it cannot be built from."""
        return self.make()

    @cached_property
    def limiter(self) -> RateLimiter:
        """Build the upstream's rate limiter, which all functions share."""
        return self.make_limiter(self.upstream)

    def prepare(self) -> None:
        """Build the upstream and its rate limiter. Raises ValueError as `upstream` does."""
        _ = self.limiter

    def price(self, request: GenerateRequest) -> int:
        """Price one image in micro-dollars."""
        if self.settings.price_micros is not None:
            return self.settings.price_micros
        return self.upstream.price(request)

    def is_too_long(self, request: GenerateRequest, *, seconds: float) -> bool:
        """Whether one call for a request takes longer than `seconds`, as long calls of late show.

        Raises StorageError.
        """
        steps = self._long_steps(request, min(request.num_images, self.upstream.images_per_call))
        per_step = self.limiter.seconds_per_step() if steps else None
        return per_step is not None and per_step * steps > seconds

    def seconds_apart(self, request: GenerateRequest, *, seconds: float) -> float:
        """Return how far apart its bounds have requests be that take `seconds` each.

        It is 0 without bounds.
        """
        calls = ceil(request.num_images / self.upstream.images_per_call)
        rate, most = self.settings.rate or self.upstream.rate, self.settings.concurrency
        return max(
            calls * rate.seconds / rate.calls if rate else 0.0,
            calls * seconds / most if most else 0.0,
        )

    def _long_steps(self, request: GenerateRequest, images: int) -> int:
        """Return the steps of a long call: 0 for a short one, and where steps are ignored."""
        steps = request.steps * images
        is_long = steps > LONG_STEPS and "steps" not in self.upstream.ignored(request)
        return steps if is_long else 0

    def generate(self, task: GenerationTask, *, tries: int) -> Calls:
        """Generate the images of a task; each call to a busy upstream is tried `tries` times."""
        calls, failed = Calls(), 0
        waiting = _batches(task.seeds, self.upstream.images_per_call)
        while waiting:
            # A job that already has images goes before new jobs when this upstream is the last.
            is_patient = calls.has_generated and tries > 1
            permit = self._acquire(len(waiting), task, is_patient=is_patient)
            if isinstance(permit, Sd3Error):
                for batch in waiting:
                    if batch[0] not in calls.results:  # why it was too busy says more
                        calls.add(batch, permit)
                break
            now, waiting = waiting[: len(permit.waits)], waiting[len(permit.waits) :]
            busy = self._call_all(task, now, permit, calls)
            if not busy:
                continue
            failed += 1
            rest = max(_seconds_to_rest(calls.results[batch[0]]) for batch in busy)
            wait = rest + self.jitter() * BACKOFF_SECONDS * 2.0 ** (failed - 1)
            if failed == tries or wait > self._patience(task, is_patient=calls.has_generated):
                for batch in waiting:  # they would fail in the same way
                    calls.results |= dict.fromkeys(batch, calls.results[busy[0][0]])
                break
            waiting = busy + waiting
            self.sleep(wait)
        return calls

    def charges(self, calls: Calls, request: GenerateRequest) -> Iterator[Charge]:
        """Sum the costs of the calls by outcome. Yield no charge when no call was made."""
        counts = Counter(_charge_outcome(result) for result in calls.results.values())
        paid = [one for one in (ChargeOutcome.CHARGED, ChargeOutcome.UNKNOWN) if counts[one]]
        name = self.upstream.name
        for outcome in paid:
            micros = self.price(request) * counts[outcome]
            yield Charge(upstream=name, outcome=outcome, micros=micros)
        if calls.were_made and not paid:
            yield Charge(upstream=name, outcome=ChargeOutcome.FREE, micros=0)

    def _acquire(self, calls: int, task: GenerationTask, *, is_patient: bool) -> Permit | Sd3Error:
        """Reserve slots, or return the error that says why there are none.

        A patient caller waits for them as long as its task allows.
        """
        while True:
            patience = self._patience(task, is_patient=is_patient)
            permit = _result_of(
                partial(self.limiter.acquire, calls, patience=patience, origin=task.origin),
                was_sent=False,
            )
            if not isinstance(permit, UpstreamRateLimitedError):
                return permit
            wait = (permit.retry_after or 0.0) + self.jitter() * BACKOFF_SECONDS
            if not is_patient or wait > patience:
                return permit
            self.sleep(wait)

    def _patience(self, task: GenerationTask, *, is_patient: bool) -> float:
        """Return how long to wait for a slot. The rest of the time is reserved for the call."""
        left = max(0.0, task.deadline - self.clock())
        if is_patient:
            return max(left - MIN_CALL_SECONDS, left / 2)
        return min(PATIENCE_SECONDS, left / 2)

    def _call_all(
        self, task: GenerationTask, batches: Sequence[Batch], permit: Permit, calls: Calls
    ) -> list[Batch]:
        """Make all calls in parallel; return the batches for which the upstream was too busy."""

        def call(batch: Batch, wait: float) -> UpstreamResult | Sd3Error:
            if wait:
                self.sleep(wait)
            began = self.clock()
            result = _result_of(partial(self._call, task, batch), was_sent=True)
            self._note_time(task.request, len(batch), result, self.clock() - began)
            if isinstance(result, UpstreamResult):
                task.count_images(len(batch))
            return result

        calls.were_made = True
        if len(batches) == 1:
            results = [call(batches[0], permit.waits[0])]
        else:
            with ThreadPoolExecutor(len(batches), thread_name_prefix="generate") as pool:
                results = list(pool.map(call, batches, permit.waits))
        errors = [one if isinstance(one, Sd3Error) else None for one in results]
        calls.open_seconds += self.limiter.release(permit, errors)
        for batch, result in zip(batches, results, strict=True):
            calls.add(batch, result)
        busy = zip(batches, errors, strict=True)
        return [batch for batch, error in busy if isinstance(error, UpstreamUnavailableError)]

    def _note_time(
        self, request: GenerateRequest, images: int, result: UpstreamResult | Sd3Error, took: float
    ) -> None:
        """Record how long a long call took, or that it takes longer than it was given."""
        steps = self._long_steps(request, images)
        is_least = isinstance(result, UpstreamTimeoutError)
        if steps and (is_least or isinstance(result, UpstreamResult)):
            seconds = took * TIMEOUT_FACTOR if is_least else took
            self.limiter.note_step(seconds / steps, is_least=is_least)

    def _call(self, task: GenerationTask, batch: Batch) -> UpstreamResult:
        started = self.clock()
        result = self.upstream.generate(task.only(batch))
        name, model = self.upstream.name, self.upstream.model
        return UpstreamResult(
            tuple(image._replace(upstream=name, model=model) for image in result.images),
            result.prediction_time_ms or (self.clock() - started) * 1000,
        )


def _result_of(do: Callable[[], T], *, was_sent: bool) -> T | Sd3Error:
    """Return what `do` returns, or its error; a bug costs no other image of the job.

    `was_sent` is whether a bug can come after a call that is charged.
    """
    try:
        return do()
    except Sd3Error as error:
        return error
    except Exception as bug:
        _logger.exception("unexpected exception")
        return UnexpectedError(bug, may_have_charged=was_sent)


def _batches(indexes: Mapping[int, int], size: int) -> list[Batch]:
    left = iter(indexes)
    return [batch for _ in range(0, len(indexes), size) if (batch := tuple(islice(left, size)))]


def _seconds_to_rest(result: Result) -> float:
    """Return the Retry-After of a 503; the rate limiter has its client rest for so long.

    A 429 is waited for with the next slot.
    """
    if isinstance(result, UpstreamUnavailableError) and not isinstance(
        result, UpstreamThrottledError
    ):
        return result.retry_after or 0.0
    return 0.0


def _charge_outcome(result: Result) -> ChargeOutcome:
    if isinstance(result, GeneratedImage):
        return ChargeOutcome.CHARGED
    return ChargeOutcome.UNKNOWN if result.may_have_charged else ChargeOutcome.FREE
