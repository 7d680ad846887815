"""The clients of the soak: what they ask for, how they repeat it, and what they take back."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final, NamedTuple

from benchmarks.environments import Cloud, Environment, Function, InvocationError
from benchmarks.soak_services import PICTURE, PRICE
from sd3.domain.client import NO_LIMITS, ClientLimits, RequestContext
from sd3.domain.request import GenerateRequest
from sd3.errors import RequestError, Sd3Error
from sd3.responses.models import JobResponse
from sd3.services.jobs import JobService

TRIES: Final = 5
"""Of a client with an Idempotency-Key, and of one that takes a job back."""
PATIENCE_SECONDS: Final = (1.0, 20.0)
"""Between two tries."""
REGRET_SECONDS: Final = ((0.0, 3.0), (0.0, 60.0))
"""Until a job is taken back: half of them while it is queued or runs, if it was not answered."""
REGRETS: Final = 0.04
"""The share of the jobs that are canceled, and of those that are deleted."""
HOLD: Final = timedelta(seconds=26)
GROUP: Final = "user-"
"""How the ids of the clients with JWTs begin."""
USERS: Final = 200
GENEROUS: Final = 10**12


class Kind(NamedTuple):
    """Clients of one kind, and their share of the requests."""

    share: float
    client_id: str
    limits: ClientLimits = NO_LIMITS


class Request(NamedTuple):
    """What one client wants, with as many calls as it takes."""

    number: int
    client_id: str
    limits: ClientLimits
    body: GenerateRequest
    key: str | None
    is_async: bool
    is_held: bool


@dataclass
class Clients:
    """All clients, and what they know of their jobs."""

    cloud: Cloud
    generate: Function
    jobs: Function
    kinds: tuple[Kind, ...]
    counts: Counter[str] = field(default_factory=Counter)
    """Calls, and how they ended."""
    keys: dict[str, set[str]] = field(default_factory=dict)
    """The ids of the calls with each Idempotency-Key, which are those of the jobs they made."""
    known: dict[str, set[str]] = field(default_factory=dict)
    """The jobs that clients were told of for each key."""

    def arrive(self, number: int) -> None:
        """Start a client's request; with a key it is sometimes sent twice at the same time."""
        request = self._request(number)
        twice = request.key is not None and self._happens(0.1)
        for call in range(2 if twice else 1):
            self.cloud.time.start(partial(self._ask, request, f"job-{number}-{call}"))

    def _request(self, number: int) -> Request:
        random = self.cloud.random
        kind = random.choices(self.kinds, [one.share for one in self.kinds])[0]
        user = random.randrange(USERS) if kind.client_id == GROUP else ""
        body = GenerateRequest(
            prompt=f"a lighthouse, {number}", num_images=random.choice((1, 1, 2))
        )
        if self._happens(0.05):
            body = body.model_copy(update={"init_image": PICTURE})
        key = f"key-{number}" if self._happens(0.4) else None
        is_async = self._happens(0.4)
        is_held = not is_async and key is None and self._happens(0.1)
        return Request(number, f"{kind.client_id}{user}", kind.limits, body, key, is_async, is_held)

    def _ask(self, request: Request, name: str) -> None:
        """Call until there is an answer; only a key, or a held call, makes that safe."""
        for tried in range(TRIES if request.key or request.is_held else 1):
            if tried:
                self._wait(PATIENCE_SECONDS)
            job_id = f"{name}-{tried}"
            if request.key:
                self.keys.setdefault(request.key, set()).add(job_id)
            found = self._call(request, job_id)
            if found:
                if request.key:
                    self.known.setdefault(request.key, set()).add(found)
                self._regret(found, request.client_id)
                return

    def _call(self, request: Request, job_id: str) -> str | None:
        """Make one call. Return the job's id, an empty text for an answer without one, or None."""
        self.counts["calls"] += 1
        try:
            response = self.generate.call(partial(self._generate, request, job_id))
        except InvocationError:
            self.counts["no answer"] += 1
        except RequestError as error:
            self.counts[error.code] += 1
            return error.job_id or ""
        except Sd3Error as error:
            self.counts[error.code] += 1
        else:
            self.counts[response.status] += 1
            return response.id
        return None

    def _generate(self, request: Request, job_id: str, process: Environment) -> JobResponse:
        hold = HOLD if request.is_held else None
        context = RequestContext(
            client_id=request.client_id,
            job_id=job_id,
            seconds=process.get_remaining_time_in_millis() / 1000,
            idempotency_key=request.key,
            respond_async=request.is_async,
            limits=request.limits,
            hold_until=process.clock.now() + hold if hold else None,
        )
        service: JobService = process.bootstrap.job_service()
        return service.generate(request.body, context)

    def _regret(self, job_id: str, client_id: str) -> None:
        """Sometimes cancel or delete a job, at a random moment."""
        does = next((one for one in self._changes_of_mind()), None)
        if does is None:
            return
        self._wait(self.cloud.random.choice(REGRET_SECONDS))
        for tried in range(TRIES):
            if tried:
                self._wait(PATIENCE_SECONDS)
            try:
                self.jobs.call(
                    lambda process: getattr(process.bootstrap.job_service(), does)(
                        job_id, client_id=client_id
                    )
                )
            except RequestError as error:
                self.counts[f"{does}: {error.code}"] += 1
                return
            except (InvocationError, Sd3Error):
                continue
            self.counts[does] += 1
            return

    def _changes_of_mind(self) -> Iterator[str]:
        for does in ("cancel", "delete"):
            if self._happens(REGRETS):
                yield does

    def _wait(self, bounds: tuple[float, float]) -> None:
        self.cloud.time.sleep(self.cloud.random.uniform(*bounds))

    def _happens(self, share: float) -> bool:
        return self.cloud.random.random() < share


def kinds_of(jobs: int) -> tuple[Kind, ...]:
    """Return the clients of a run; some of their budgets end before `jobs` jobs are made."""
    few = jobs // 12 * PRICE
    return (
        Kind(0.5, "app"),
        Kind(0.15, "shop", ClientLimits(daily_budget_micros=GENEROUS)),
        Kind(0.1, "small", ClientLimits(daily_budget_micros=few)),
        Kind(0.05, "steady", ClientLimits(requests_per_minute=60)),
        Kind(0.2, GROUP, ClientLimits(total_daily_budget_micros=4 * few)),
    )
