"""make run UPSTREAM=...: which upstreams it selects, and its errors for missing settings."""

import json
from pathlib import Path

import pytest

from local.upstream import NEEDS, choose
from ops.stacks import StackError
from sd3.upstreams import UPSTREAMS

MODEL = "http://127.0.0.1:8188"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text("sk-1\n")
    return path


def test_every_upstream_lists_what_it_needs() -> None:
    assert set(NEEDS) == set(UPSTREAMS)


def test_without_a_name_the_model_server_generates() -> None:
    chosen = choose("")
    assert chosen.parameters(MODEL) == {"Upstream": "octoai", "UpstreamUrl": MODEL}
    assert json.loads(chosen.secret("token")) == {"octoai": "token"}
    assert not chosen.is_real
    assert chosen.asks_model_server


def test_a_vendor_gets_the_key_of_the_file(key_file: Path) -> None:
    chosen = choose("stability", key_file=key_file)
    assert chosen.parameters(MODEL) == {"Upstream": "stability", "UpstreamUrl": ""}
    assert json.loads(chosen.secret("token")) == {"octoai": "token", "stability": "sk-1"}
    assert chosen.is_real
    assert not chosen.asks_model_server


def test_several_upstreams_have_keys_by_name(key_file: Path) -> None:
    key_file.write_text('{"stability": "sk-1", "bedrock": "br-2", "other": 3, "openai": ""}')
    chosen = choose("stability,octoai,openai", url=",,http://10.0.0.5:30000", key_file=key_file)
    assert chosen.parameters(MODEL)["UpstreamUrl"] == f",{MODEL},http://10.0.0.5:30000"
    assert chosen.keys == {"stability": "sk-1", "bedrock": "br-2"}
    assert chosen.asks_model_server


def test_a_host_of_the_contract_may_be_elsewhere(key_file: Path) -> None:
    chosen = choose("octoai", url="https://sd3.example.com/", key_file=key_file)
    assert chosen.is_real
    assert not chosen.asks_model_server
    assert json.loads(chosen.secret("token")) == {"octoai": "sk-1"}


@pytest.mark.parametrize(
    ("order", "url", "message"),
    [
        ("dalle", "", "there is no upstream dalle"),
        (",", "", "UPSTREAM must name an upstream"),
        ("stability,", "", "UPSTREAM must name an upstream"),
        ("octoai,octoai", "", "must not name an upstream twice"),
        ("stability", "", "stability needs a key"),
        ("octoai,bedrock", "", "bedrock needs a key"),
        ("openai", "", "openai needs a base URL"),
        ("octoai", "http://sd3.example.com", "neither https nor http to a loopback"),
        ("octoai", "a,b", "UPSTREAM_URL has 2 entries"),
    ],
)
def test_a_missing_setting_is_an_error_before_anything_starts(
    order: str, url: str, message: str
) -> None:
    with pytest.raises(StackError, match=message):
        choose(order, url=url)


@pytest.mark.parametrize(
    ("text", "message"), [("sk-1", "must be JSON"), ("{sk-1", "neither a key nor JSON")]
)
def test_a_wrong_key_file_is_not_quoted(key_file: Path, text: str, message: str) -> None:
    key_file.write_text(text)
    with pytest.raises(StackError, match=message) as caught:
        choose("stability,bedrock", key_file=key_file)
    assert "sk-1" not in str(caught.value)


def test_a_missing_key_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="FileNotFoundError"):
        choose("stability", key_file=tmp_path / "no")
