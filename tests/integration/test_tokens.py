"""The commands over the clients' table, on moto: make token, make clients, make revoke."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops import clients as command
from ops.stacks import DeployedStack
from sd3.adapters.aws import Aws
from sd3.adapters.dynamodb.token_admin import MAX_TOKENS, TokenStore
from sd3.adapters.dynamodb.tokens import ClientStore
from sd3.domain.client import READ, SCOPES, Client, ClientLimits
from sd3.errors import StorageError

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TABLE = "clients"
LIMITS = ["--budget=5.00", "--per-minute=60", "--max-images=4"]


class Clock:
    """A second later each time, so that tokens have an order."""

    def __init__(self) -> None:
        self.time = NOW

    def now(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@pytest.fixture
def store(aws: Aws) -> TokenStore:
    aws.dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "token_sha256", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "token_sha256", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return TokenStore(aws.dynamodb, TABLE, now=Clock().now)


class MotoStack(DeployedStack):
    def __init__(self, store: TokenStore) -> None:
        self._store = store

    def tokens(self) -> TokenStore:
        return self._store


@pytest.fixture
def run(
    store: TokenStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., list[str]]:
    """Run a command that works; the lines that it prints."""
    monkeypatch.setattr(command, "find_stack", lambda _: MotoStack(store))

    def run(*arguments: str) -> list[str]:
        assert command.main([*arguments, "--stack", ""]) == 0
        return capsys.readouterr().out.splitlines()

    return run


def test_tokens_are_long_random_and_never_stored(store: TokenStore, aws: Aws) -> None:
    tokens = {store.issue("a") for _ in range(5)}
    assert len(tokens) == 5
    assert all(re.fullmatch(r"sd3_[\w-]{43}", token) for token in tokens)
    stored = str(aws.dynamodb.scan(TableName=TABLE))
    assert not any(token in stored for token in tokens)


def test_an_issued_token_is_found(
    run: Callable[..., list[str]], store: TokenStore, aws: Aws
) -> None:
    token = run(
        "token", "acme", "--name=The 'Acme' $HOME", "--expires=2999-01-01", "--scopes=read", *LIMITS
    )[-1]  # fmt: skip
    client = ClientStore(aws.dynamodb, TABLE).find(token)
    limits = ClientLimits(5_000_000, 60, 4)
    assert client == Client("acme", "The 'Acme' $HOME", frozenset([READ]), limits)
    [stored] = store.all()
    assert stored.expires_at == datetime(2999, 1, 1, tzinfo=UTC)


def test_a_token_has_all_scopes_by_default(
    run: Callable[..., list[str]], store: TokenStore
) -> None:
    run("token", "acme")
    [stored] = store.all()
    assert stored[2:] == ("acme", NOW + timedelta(seconds=1), None, None, SCOPES, ClientLimits())


def test_a_second_token_has_its_clients_name_and_limits(
    run: Callable[..., list[str]], store: TokenStore
) -> None:
    run("token", "acme", "--name=Acme", "--scopes=read", *LIMITS)
    run("token", "acme")
    run("token", "other")
    first, second, other = store.all()
    assert (first.name, first.limits) == (second.name, second.limits)
    assert (second.name, second.limits) == ("Acme", ClientLimits(5_000_000, 60, 4))
    assert (first.scopes, second.scopes) == (frozenset([READ]), SCOPES)
    assert other.limits == ClientLimits()


def test_a_change_of_limits_is_written_to_all_tokens_that_work(
    run: Callable[..., list[str]], store: TokenStore
) -> None:
    run("token", "acme", *LIMITS)
    run("revoke", "acme")
    run("token", "acme")
    run("token", "acme", "--scopes=read")
    run("token", "acme", "--budget=0.000001", "--per-minute=none", "--name=New")
    revoked, *others = store.all()
    assert revoked.limits == ClientLimits(5_000_000, 60, 4)
    assert [token.limits for token in others] == [ClientLimits(1, None, 4)] * 3
    assert [token.name for token in others] == ["New"] * 3
    assert [token.scopes for token in others] == [SCOPES, {READ}, SCOPES]


def test_a_client_comes_back_with_the_limits_that_it_had(
    run: Callable[..., list[str]], store: TokenStore
) -> None:
    run("token", "acme", *LIMITS)
    run("revoke", "acme")
    run("token", "acme")
    assert store.all()[-1].limits == ClientLimits(5_000_000, 60, 4)


def test_all_tokens_of_a_client_are_revoked_at_once(
    run: Callable[..., list[str]], store: TokenStore
) -> None:
    for client in ("acme", "acme", "other"):
        run("token", client)
    assert run("revoke", "acme")[0].startswith("2 tokens revoked")
    assert [bool(token.revoked_at) for token in store.all()] == [True, True, False]
    before = store.all()
    assert run("revoke", "acme")[0].startswith("0 tokens revoked")
    assert store.all() == before


def test_one_token_is_revoked_by_its_id(
    run: Callable[..., list[str]], store: TokenStore, aws: Aws
) -> None:
    old, new = (run("token", "acme")[-1] for _ in range(2))
    ids = [line.split()[1] for line in run("clients")[1:]]
    assert run("revoke", "acme", f"--token={ids[0]}")[0].startswith("1 token revoked")
    clients = ClientStore(aws.dynamodb, TABLE)
    assert clients.find(old) is None
    assert clients.find(new)


def test_the_clients_are_listed_without_their_tokens(
    run: Callable[..., list[str]], store: TokenStore
) -> None:
    tokens = [
        run("token", "acme", "--name=Acme Ltd", *LIMITS)[-1],
        run("token", "acme", "--expires=2999-01-01T10:30", "--scopes=read", "--budget=0.5")[-1],
        run("token", "zoo")[-1],
    ]
    run("revoke", "zoo")
    lines = run("clients")
    acme, second, zoo = (token.sha256[:8] for token in store.all())
    assert [re.split(r"\s{2,}", line) for line in lines] == [
        ["client", "token", "created", "expires", "revoked", "scopes", "budget", "per minute",
         "max images", "name"],
        ["acme", acme, "2026-11-23T12:00Z", "-", "-", "generate,read", "0.50", "60", "4",
         "Acme Ltd"],
        ["acme", second, "2026-11-23T12:00Z", "2999-01-01T10:30Z", "-", "read", "0.50", "60", "4",
         "Acme Ltd"],
        ["zoo", zoo, "2026-11-23T12:00Z", "-", "2026-11-23T12:00Z", "generate,read", "-", "-", "-",
         "zoo"],
    ]  # fmt: skip
    assert not any(token in line for token in tokens for line in lines)


def test_a_table_of_many_pages_is_read_to_its_end(store: TokenStore, aws: Aws) -> None:
    paginate = aws.dynamodb.get_paginator("scan").paginate
    for number in range(5):
        store.issue(f"c{number}")

    class SmallPages:
        def get_paginator(self, name: str) -> Any:
            return self

        def paginate(self, **call: Any) -> Any:
            return paginate(**call, PaginationConfig={"PageSize": 2})

    pages: Any = SmallPages()
    assert TokenStore(pages, TABLE).all() == store.all()


@pytest.mark.parametrize("client", ["", "A", "a/b", "a.b", "a_b", "a" * 64, "a\n", "é"])
def test_a_client_id_that_is_no_slug_is_rejected(store: TokenStore, client: str) -> None:
    with pytest.raises(ValueError, match="a client id is"):
        store.issue(client)
    assert not store.all()


def test_a_token_that_would_have_expired_is_rejected(store: TokenStore) -> None:
    with pytest.raises(ValueError, match="is past"):
        store.issue("acme", expires_at=NOW)
    assert not store.all()


def test_a_client_has_a_bounded_number_of_tokens(store: TokenStore) -> None:
    for _ in range(MAX_TOKENS):
        store.issue("acme")
    with pytest.raises(ValueError, match="at most 100 active tokens"):
        store.issue("acme")
    store.revoke("acme", store.all()[0].sha256)
    store.issue("acme", limits={"max_images": 1})
    assert sum(token.limits == ClientLimits(max_images=1) for token in store.all()) == MAX_TOKENS


@pytest.mark.parametrize(
    ("client", "prefix", "message"),
    [
        ("nobody", None, "there is no client 'nobody'"),
        ("acme", "", "named by the id"),
        ("acme", "sd3_" + "x" * 43, "named by the id"),
        ("acme", "g", "named by the id"),
        ("acme", "A", "named by the id"),
        ("acme", "a" * 65, "named by the id"),
        ("acme", "0" * 64, "0 tokens of acme begin with"),
    ],
)
def test_what_is_not_there_is_not_revoked(
    store: TokenStore, client: str, prefix: str | None, message: str
) -> None:
    store.issue("acme")
    with pytest.raises(ValueError, match=message) as caught:
        store.revoke(client, prefix)
    assert "sd3_" not in str(caught.value)
    assert not store.all()[0].revoked_at


def test_an_id_that_is_of_several_tokens_revokes_none(store: TokenStore) -> None:
    for _ in range(17):  # of which two begin with the same digit
        store.issue("acme")
    digits = [token.sha256[0] for token in store.all()]
    common = max(set(digits), key=digits.count)
    with pytest.raises(ValueError, match=f"tokens of acme begin with {common}"):
        store.revoke("acme", common)
    assert not any(token.revoked_at for token in store.all())


def test_a_token_of_another_client_is_not_revoked(store: TokenStore) -> None:
    store.issue("acme")
    store.issue("other")
    [_, other] = store.all()
    with pytest.raises(ValueError, match="0 tokens of acme"):
        store.revoke("acme", other.sha256[:8])


def test_a_missing_table_is_a_precise_error(aws: Aws, store: TokenStore) -> None:
    store.issue("acme")
    [token] = store.all()
    aws.dynamodb.delete_table(TableName=TABLE)
    for call in (
        lambda: store.issue("acme"),
        store.all,
        lambda: store.revoke("acme"),
        lambda: store._write(token, []),
        lambda: store._revoke(token, now=NOW),
    ):
        with pytest.raises(StorageError):
            call()
