"""What `make run` starts for the upstreams that were chosen."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from local import stack
from local.upstream import choose

MODEL = "http://127.0.0.1:8188"


@pytest.mark.parametrize(
    ("order", "url", "upstream_url"),
    [
        ("", "", MODEL),
        ("octoai", "", MODEL),
        ("octoai,openai", ",http://127.0.0.1:9", MODEL),
        ("openai", "http://127.0.0.1:9", ""),
        ("octoai", "http://127.0.0.1:9", ""),
    ],
)
def test_the_model_server_is_started_if_an_upstream_asks_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, order: str, url: str, upstream_url: str
) -> None:
    started: list[str] = []
    reports: list[str] = []
    deployed_with: dict[str, str] = {}
    log = tmp_path / "log"
    log.write_text(f"listening on {MODEL} with sketch\n")

    def start(name: str) -> Any:
        started.append(name)
        return nullcontext(SimpleNamespace(log=log, wait_until=lambda *_, **__: None))

    deployed = SimpleNamespace(api_url=lambda: "http://127.0.0.1/v1")
    fakes: dict[str, Any] = {
        "_embedded_aws": lambda *_, **__: start("AWS"),
        "_model_server": lambda *_, **__: start("model server"),
        "embedded": lambda _aws: deployed,
        "_secret": lambda *_: "arn",
        "_deploy": lambda *_, parameters, **__: deployed_with.update(parameters),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(stack, name, fake)
    with stack.running(
        tmp_path, edge_port=0, model_port=0, report=reports.append, upstream=choose(order, url=url)
    ) as running:
        assert running.upstream_url == upstream_url
        assert len(running.children) == len(started)
    assert started == ["AWS", *(["model server"] if upstream_url else [])]
    assert ("model server" in reports[0]) == bool(upstream_url)
    assert url.strip(",") in deployed_with["UpstreamUrl"]
