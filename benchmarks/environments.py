"""Lambda's environments in virtual time: processes of functions, each with what it has built.

A process runs one invocation at a time, and is used again. It has a bootstrap of its own, so it
shares nothing with the others but the services of AWS. It can die before or after every call.
"""

import importlib
import logging
import math
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache, partial
from pathlib import Path
from random import Random
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any, Final, TypeVar
from unittest.mock import patch

from benchmarks.aws_client import SURE, AwsClient, Network
from benchmarks.deployed import seconds_of
from benchmarks.drain_sides import NoMetrics
from benchmarks.virtual_time import Pool, VirtualTime
from sd3 import bootstrap, upstreams
from sd3.adapters.dynamodb.jobs import JobStore
from sd3.adapters.dynamodb.ledger import UsageStore
from sd3.errors import Sd3Error, UnexpectedError
from sd3.services.ports import Clock

T = TypeVar("T")

SKEW_SECONDS: Final = 0.1
"""The largest error of a process's clock."""

_current = threading.local()


class Died(BaseException):
    """A process has died here: nothing that follows in it happens."""


class InvocationError(Exception):
    """The process of an invocation has died, or was ended after the function's timeout."""


@dataclass
class Cloud:
    """What all processes share, and how often they die."""

    time: VirtualTime
    random: Random
    epoch: datetime
    """When virtual time begins."""
    services: Mapping[str, Any]
    """Of AWS, by the attributes of sd3.adapters.aws.Aws."""
    replacements: Callable[["Environment"], Mapping[str, Callable[[], Any]]] = lambda _: {}
    """Builders of sd3.bootstrap that a process has others for."""
    network: Network = SURE
    deaths: float = 0.0
    """The share of moments around calls at which a process dies."""
    counts: Counter[str] = field(default_factory=Counter)
    """Deaths, timeouts, processes, and what was lost."""
    bugs: list[Exception] = field(default_factory=list)
    """What functions have raised that nobody expects."""

    @property
    def now(self) -> datetime:
        """Return the time of the day."""
        return self.epoch + timedelta(seconds=self.time.now)

    def timestamp(self) -> float:
        """Return the time in seconds since the epoch."""
        return self.now.timestamp()


class Environment:
    """One process of a function."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.is_dead = False
        self._ends_at = math.inf
        self._skew = timedelta(seconds=cloud.random.uniform(-SKEW_SECONDS, SKEW_SECONDS))
        self.aws = SimpleNamespace(
            **{name: self._client(service) for name, service in cloud.services.items()},
            s3=None,
            secrets=None,
            signer=lambda *_: None,
        )
        self.bootstrap = _copy_of_bootstrap()
        own: dict[str, Callable[[], Any]] = {
            "_aws": lambda: self.aws,
            "clock": lambda: self.clock,
            "metrics": NoMetrics,
        }
        for name, builder in {**own, **cloud.replacements(self)}.items():
            setattr(self.bootstrap, name, builder)
        cloud.counts["processes"] += 1

    @property
    def clock(self) -> Clock:
        """Return the clock of this process, which is not quite right."""
        cloud = self.cloud
        return Clock(
            now=lambda: cloud.now + self._skew,
            monotonic=lambda: cloud.time.now,
            sleep=self.sleep,
            jitter=cloud.random.random,
        )

    def begin(self, seconds: float) -> None:
        """Begin an invocation, which is ended after so many seconds."""
        self._ends_at = self.cloud.time.now + seconds

    def step(self) -> None:
        """Perhaps die. Raises Died, and for a dead process always."""
        self._check()
        if self.cloud.random.random() < self.cloud.deaths:
            self._die("deaths")

    def sleep(self, seconds: float) -> None:
        """Sleep, no longer than the invocation lasts."""
        self.cloud.time.sleep(max(0.0, min(seconds, self._ends_at - self.cloud.time.now + 1)))
        self._check()

    def get_remaining_time_in_millis(self) -> int:
        """Return what is left of the invocation: a process is Lambda's context as well."""
        return int((self._ends_at - self.cloud.time.now) * 1000)

    def _check(self) -> None:
        if self.is_dead:
            raise Died
        if self.cloud.time.now > self._ends_at:
            self._die("timeouts")

    def _die(self, how: str) -> None:
        self.is_dead = True
        self.cloud.counts[how] += 1
        raise Died

    def _client(self, service: Any) -> AwsClient:
        cloud = self.cloud
        return AwsClient(
            service,
            cloud.time,
            cloud.random,
            network=cloud.network,
            around=self.step,
            counts=cloud.counts,
        )


class Function:
    """A Lambda function: its processes, of which each runs one invocation at a time."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self.name, self.seconds = name, seconds_of(name)
        self.module = importlib.import_module(f"functions.{name}.app")
        self._cloud = cloud
        self._free: list[Environment] = []

    def handle(self, event: dict[str, Any]) -> Any:
        """Invoke the function with an event. Raises what it raises, and InvocationError."""
        # Without the decorator of the log, which has nobody to read it here.
        handler = getattr(self.module.handler, "__wrapped__", self.module.handler)
        return self.call(lambda environment: handler(event, environment))

    def call(self, use: Callable[[Environment], T]) -> T:
        """Run `use` as an invocation of the function, in a free process or a new one.

        Raises what it raises, and InvocationError.
        """
        environment = self._free.pop() if self._free else Environment(self._cloud)
        environment.begin(self.seconds)
        before = getattr(_current, "environment", None)
        _current.environment = environment
        try:
            result = use(environment)
        except Died:
            raise InvocationError(self.name) from None
        except Exception as error:
            if not isinstance(error, Sd3Error) or isinstance(error, UnexpectedError):
                self._cloud.bugs.append(error)
            raise
        finally:
            _current.environment = before
            if not environment.is_dead:
                self._free.append(environment)
        if environment.is_dead:  # a part of it that ran beside has died
            raise InvocationError(self.name)
        return result


@contextmanager
def in_virtual_time(cloud: Cloud, functions: Sequence[Function] = ()) -> Iterator[None]:
    """Have the package and the functions wait in virtual time, and log nothing, in the block."""
    time = cloud.time
    clock = SimpleNamespace(monotonic=lambda: time.now, time=cloud.timestamp, sleep=time.sleep)
    with ExitStack() as stack:
        enter = stack.enter_context
        for module in _modules_with_threads():
            enter(patch.object(module, "ThreadPoolExecutor", partial(Pool, time)))
        enter(patch.object(upstreams, "time", clock))
        for store in (JobStore, UsageStore):
            defaults = vars(store)["__init__"].__kwdefaults__ or {}
            virtual = {"sleep": time.sleep, "jitter": cloud.random.random}
            enter(
                patch.dict(defaults, {name: virtual[name] for name in virtual if name in defaults})
            )
        for function in functions:
            for name, value in list(vars(function.module).items()):
                if value is getattr(bootstrap, name, None) and hasattr(value, "cache_clear"):
                    enter(patch.object(function.module, name, partial(_built_here, name)))
        before = logging.root.manager.disable
        logging.disable()
        stack.callback(logging.disable, before)
        yield


def current() -> Environment:
    """Return the process that this thread runs."""
    environment: Environment = _current.environment
    return environment


def _built_here(name: str) -> Any:
    """Return what the bootstrap of the process has built, for a function that asks for it."""
    return getattr(current().bootstrap, name)()


def _modules_with_threads() -> Iterator[ModuleType]:
    """Find where the package runs things at the same time."""
    for name, module in list(sys.modules.items()):
        if name.startswith("sd3.") and vars(module).get("ThreadPoolExecutor") is ThreadPoolExecutor:
            yield module


def _copy_of_bootstrap() -> ModuleType:
    """Run the composition root once more, so that its builders keep what they build apart."""
    module = ModuleType(bootstrap.__name__)
    with patch("snapshot_restore_py.register_after_restore", _no_hook):
        exec(_bootstrap_code(), vars(module))  # noqa: S102 - the package's own file
    return module


def _no_hook(_: Callable[[], object]) -> None:
    """Take a hook of SnapStart, which restores nothing here."""


@cache
def _bootstrap_code() -> CodeType:
    path = Path(str(bootstrap.__file__))
    return compile(path.read_text("utf-8"), path, "exec")
