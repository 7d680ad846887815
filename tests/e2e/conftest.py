"""The whole service, built, deployed and running on this machine, once for all e2e tests."""

from collections.abc import Callable, Iterator
from itertools import count

import pytest
import requests

from local.environment import ROOT
from local.stack import Stack, running
from tests.support.factories.certificates import certificate, tls
from tests.support.operator import Api, Operator
from tests.support.servers.jwt_issuer import AUDIENCE, MOBILE_APP, LoopbackIssuer

__all__ = ["certificate", "tls"]


@pytest.fixture(scope="session")
def issuer() -> Iterator[LoopbackIssuer]:
    """Whose JWTs the stack takes beside its own tokens."""
    with LoopbackIssuer() as issuer:
        yield issuer


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, issuer: LoopbackIssuer) -> Iterator[Stack]:
    """Provide the stack of `make run`, on ports and with state of its own."""
    (ROOT / ".local").mkdir(exist_ok=True)
    state = tmp_path_factory.mktemp("stack")
    parameters = {
        "JwtIssuer": issuer.url,
        "JwtAudience": f"{AUDIENCE},{MOBILE_APP}",
        "JwtNameClaim": "username",
        "JwtDailyBudget": "0.05",
        "JwtTotalDailyBudget": "5.00",
        "JwtMaxImages": "2",
        "SpendAlarmDollars": "0.1",
        "Tracing": "Active",
    }
    with running(
        state, edge_port=0, model_port=0, report=lambda _: None, parameters=parameters
    ) as stack:
        yield stack


@pytest.fixture(scope="session")
def new_token(stack: Stack) -> Callable[[], str]:
    """Make a token of a new client, each time."""
    clients = count(1)
    return lambda: stack.deployed.issue_token(f"e2e-{next(clients)}")


@pytest.fixture
def http() -> Iterator[requests.Session]:
    """Provide a session that no proxy or .netrc of this machine takes part in."""
    with requests.Session() as session:
        session.trust_env = False
        yield session


@pytest.fixture
def client(http: requests.Session, new_token: Callable[[], str]) -> requests.Session:
    """Provide a session that sends a new client's token."""
    http.headers["Authorization"] = f"Bearer {new_token()}"
    return http


@pytest.fixture
def operator(stack: Stack) -> Operator:
    return Operator(stack)


@pytest.fixture
def api(stack: Stack, http: requests.Session) -> Api:
    return Api(stack, http)


SECOND_HALF = frozenset(
    (
        "test_alarms.py",
        "test_chaos.py",
        "test_kills.py",
        "test_mcp.py",
        "test_openapi.py",
        "test_upstreams.py",
    )
)
"""Files whose tests take about half of the time together, on a stack of their own."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Choose a half of the tests, and read the logs last: all tests have written to them by then.

    The tests of the logs belong to both halves, each of which has logs of its own.
    """
    if half := config.getoption("half"):
        left = [item for item in items if _half_of(item) not in {half, "both"}]
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)
    items.sort(key=lambda item: item.path.name == "test_logs.py")


def _half_of(item: pytest.Item) -> str:
    if item.path.name == "test_logs.py":
        return "both"
    return "2" if item.path.name in SECOND_HALF else "1"
