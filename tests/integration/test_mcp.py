"""POST /mcp: the function on moto. Its worker runs while a tool waits for its job."""

import base64
import json
import re
import tomllib
from itertools import count
from typing import Any, Final

import pytest

from functions.worker import app as worker_app
from local.environment import ROOT
from sd3 import bootstrap
from sd3.adapters.aws import Aws
from sd3.api.mcp.server import SERVER_INFO
from sd3.domain.image import read_image
from sd3.errors import UpstreamResponseError
from tests.integration.conftest import ENVIRONMENT, Functions, load_event
from tests.support.factories.images import jpeg
from tests.support.factories.lambda_context import lambda_context
from tests.support.fakes import ports
from tests.support.fakes.ports import FakeUpstream

META: Final = json.loads(load_event("mcp")["body"])["params"]["_meta"]
IDS: Final = count(1)

Json = dict[str, Any]


def message(method: str, *, modern: bool = True, name: str | None = None, **params: Any) -> Json:
    """Make the event of one message, with the headers that the newer revisions have."""
    event = load_event("mcp")
    own = {"MCP-Protocol-Version", "Mcp-Method", "Mcp-Name"}
    headers = {key: value for key, value in event["headers"].items() if key not in own}
    if name:
        params["name"] = name
    if modern:
        params["_meta"] = META
        headers |= {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method}
        headers |= {"Mcp-Name": name} if name else {}
    body = {"jsonrpc": "2.0", "id": "one", "method": method, "params": params}
    event["requestContext"]["extendedRequestId"] = f"mcp{next(IDS)}"
    return event | {"headers": headers, "multiValueHeaders": {}, "body": json.dumps(body)}


def tool(name: str, *, modern: bool = True, **arguments: Any) -> Json:
    """Make the event of a call of a tool."""
    return message("tools/call", modern=modern, name=name, arguments=arguments)


def of(event: Json, **authorizer: str) -> Json:
    """Change who calls: scopes and limits as the authorizer names them."""
    event["requestContext"]["authorizer"] = event["requestContext"]["authorizer"] | authorizer
    return event


def jobs_in(aws: Aws) -> int:
    only = "attribute_exists(document)"
    return aws.dynamodb.scan(TableName="jobs", Select="COUNT", FilterExpression=only)["Count"]


@pytest.fixture(autouse=True)
def _worker(aws: Aws, upstream: FakeUpstream, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the worker take the queue's messages whenever somebody waits; its images are real."""
    monkeypatch.setattr(ports, "sample_image", lambda _: read_image(jpeg(64, 64)))

    def work(_seconds: float) -> None:
        queue = ENVIRONMENT["QUEUE_URL"]
        found = aws.sqs.receive_message(QueueUrl=queue, AttributeNames=["All"])
        for one in found.get("Messages", []):
            event = load_event("worker")
            names = {"messageId": "MessageId", "receiptHandle": "ReceiptHandle", "body": "Body"}
            event["Records"][0] |= {name: one[key] for name, key in names.items()}  # type: ignore[literal-required]
            worker_app.handler(event, lambda_context())

    clock = bootstrap.clock()._replace(sleep=work)
    monkeypatch.setattr(bootstrap, "clock", lambda: clock)


def result_of(response: Json) -> Json:
    assert response["statusCode"] == 200, response["body"]
    found: Json = response["json"]["result"]
    return found


def failure(response: Json) -> str:
    """Return the text of a tool's failure."""
    result = result_of(response)
    assert result["isError"]
    [block] = result["content"]
    return str(block["text"])


@pytest.mark.parametrize("modern", [True, False])
def test_a_tool_generates_and_returns_previews_links_and_price(
    functions: Functions, upstream: FakeUpstream, modern: bool
) -> None:
    call = tool("generate_image", modern=modern, prompt="a fox", num_images=2, seed=5)
    result = result_of(functions.mcp(call))
    summary, text, *images = result["content"]
    job = json.loads(text["text"])
    assert not result["isError"]
    assert f"Job {job['id']} has 2 of 2 images for $0.06." in summary["text"]
    assert [image["seed"] for image in job["images"]] == [5, 6]
    assert all(image["url"].startswith("https://") for image in job["images"])
    assert [image["mimeType"] for image in images] == ["image/webp"] * 2
    assert all(base64.b64decode(image["data"])[8:12] == b"WEBP" for image in images)
    # Clients that show a model only structuredContent would show it no image.
    assert "structuredContent" not in result
    assert ("resultType" in result) == ("_meta" in result) == modern


def test_the_sample_event_is_a_wide_image(functions: Functions, upstream: FakeUpstream) -> None:
    result_of(functions.mcp(load_event("mcp")))
    [call] = upstream.calls
    assert (call.width, call.height) == (1344, 768)


def test_what_takes_too_long_is_named_and_found_later(functions: Functions) -> None:
    result = result_of(functions.mcp(tool("generate_image", prompt="a fox"), seconds=5))
    [summary, text] = result["content"]
    job = json.loads(text["text"])
    assert (job["status"], result["isError"]) == ("queued", False)
    assert "Call get_job with this id; do not generate it again." in summary["text"]
    found = result_of(functions.mcp(tool("get_job", id=job["id"])))
    assert json.loads(found["content"][1]["text"])["status"] == "succeeded"
    listed = result_of(functions.mcp(tool("list_jobs", status="succeeded", limit=1.0)))
    [only] = listed["structuredContent"]["jobs"]
    assert (only["id"], only["num_images"]) == (job["id"], 1)
    assert json.loads(listed["content"][0]["text"]) == listed["structuredContent"]


def test_a_large_job_has_the_previews_of_its_first_images_and_no_whole_one(
    functions: Functions,
) -> None:
    many = load_event("generate", num_images=16, steps=7, response_format="b64_json")
    made = functions.generate(many)["json"]
    assert made["images"][0]["image_b64"]
    _, text, *images = result_of(functions.mcp(tool("get_job", id=made["id"])))["content"]
    assert len(images) == 4
    assert len(json.loads(text["text"])["images"]) == 16
    assert "image_b64" not in text["text"]


def test_a_job_that_fails_is_a_failure_of_the_tool_but_not_of_reading_it(
    functions: Functions, upstream: FakeUpstream
) -> None:
    upstream.errors = [UpstreamResponseError("It sent no image.")]
    made = result_of(functions.mcp(tool("generate_image", prompt="a fox")))
    assert made["isError"]
    assert "upstream_error, It sent no image." in made["content"][0]["text"]
    job_id = json.loads(made["content"][1]["text"])["id"]
    assert not result_of(functions.mcp(tool("get_job", id=job_id)))["isError"]


def test_a_budget_holds_and_its_end_is_a_result(aws: Aws, functions: Functions) -> None:
    def asked() -> Json:
        call = tool("generate_image", prompt="a fox")
        return functions.mcp(of(call, daily_budget_micros="50000"))

    assert not result_of(asked())["isError"]
    text = failure(asked())
    assert text.startswith("budget_exceeded: This takes $0.03, and of the budget of $0.05 a day")
    assert jobs_in(aws) == 1


def test_a_rate_holds_and_says_when_to_ask_again(functions: Functions) -> None:
    calls = [of(tool("generate_image", prompt="x"), requests_per_minute="1") for _ in range(2)]
    functions.mcp(calls[0])
    assert re.search(
        r"^rate_limited: .*\nAsk again in \d+ seconds\.$", failure(functions.mcp(calls[1]))
    )


@pytest.mark.parametrize(
    ("scopes", "tools", "refused"),
    [
        ("read", ["get_job", "list_jobs"], tool("generate_image", prompt="a fox")),
        ("generate", ["generate_image"], tool("list_jobs")),
        ("", [], tool("get_job", id="a")),
    ],
)
def test_a_token_lists_and_calls_what_its_scopes_allow(
    aws: Aws, functions: Functions, scopes: str, tools: list[str], refused: Json
) -> None:
    listed = result_of(functions.mcp(of(message("tools/list"), scopes=scopes)))
    assert [one["name"] for one in listed["tools"]] == tools
    assert listed["cacheScope"] == "private"
    assert failure(functions.mcp(of(refused, scopes=scopes))).startswith("forbidden: ")
    assert jobs_in(aws) == 0


@pytest.mark.parametrize(
    ("name", "arguments", "found"),
    [
        ("generate_image", {}, "prompt: Field required"),
        ("generate_image", {"prompt": " "}, "prompt: should have a visible character"),
        ("generate_image", {"prompt": "x" * 2_000_000}, "prompt: String should have at most 10000"),
        ("generate_image", {"prompt": "x", "num_images": 5}, "num_images: Input should be less"),
        ("generate_image", {"prompt": "x", "aspect_ratio": "4:3"}, "aspect_ratio: Input should"),
        ("generate_image", {"prompt": "x", "init_image_id": "../a"}, "init_image_id: String"),
        ("generate_image", {"prompt": "x", "steps": 200}, "steps: Extra inputs are not permitted"),
        ("generate_image", dict.fromkeys(map(str, range(101))), "arguments: There should be at"),
        ("generate_image", {"prompt": "x", "init_image_id": "0" * 32}, "init_image_id: "),
        ("get_job", {"id": "nothing"}, "not_found: "),
        ("list_jobs", {"cursor": "nonsense"}, "cursor: "),
        ("list_jobs", {"limit": 21}, "limit: "),
    ],
)  # fmt: skip
def test_wrong_arguments_are_results_that_say_what_is_wrong(
    aws: Aws, functions: Functions, name: str, arguments: Json, found: str
) -> None:
    text = failure(functions.mcp(message("tools/call", name=name, arguments=arguments)))
    assert found in text
    assert len(text) < 1000
    assert jobs_in(aws) == 0


def test_a_client_generates_as_many_images_as_it_may(functions: Functions) -> None:
    call = of(tool("generate_image", prompt="x", num_images=3), max_images="2")
    assert "num_images: Input should be less than or equal to 2" in failure(functions.mcp(call))


def test_null_is_as_good_as_absent(functions: Functions) -> None:
    nothing: Json = dict.fromkeys(("negative_prompt", "aspect_ratio", "num_images", "seed"))
    assert not result_of(functions.mcp(tool("generate_image", prompt="x", **nothing)))["isError"]


def test_a_bug_is_a_result_that_tells_nothing(
    functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "_submission", lambda **_: None)
    text = failure(functions.mcp(tool("generate_image", prompt="a fox")))
    assert text == "internal_error: Something went wrong here."


def with_headers(event: Json, **headers: str | None) -> Json:
    named = event["headers"] | {key.replace("_", "-"): value for key, value in headers.items()}
    event["headers"] = {key: value for key, value in named.items() if value is not None}
    return event


def with_body(event: Json, body: Any) -> Json:
    return event | {"body": body if isinstance(body, str) else json.dumps(body)}


def without_meta(key: str) -> Json:
    call = message("tools/list")
    body = json.loads(call["body"])
    del body["params"]["_meta"][f"io.modelcontextprotocol/{key}"]
    return with_body(call, body)


LISTS: Final = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}

OTHER_VERSION: Final = META | {"io.modelcontextprotocol/protocolVersion": "1900-01-01"}


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        (with_body(message("x"), "{"), 400, -32700),
        (with_body(message("x"), ""), 400, -32700),
        (with_body(message("x"), '{"id": 1, "id": 2}'), 400, -32700),
        (with_body(message("x"), "[" * 5000), 400, -32700),
        (with_body(message("x"), [LISTS]), 400, -32600),
        (with_body(message("x"), []), 400, -32600),
        (with_body(message("x"), LISTS | {"jsonrpc": "1.0"}), 400, -32600),
        (with_body(message("x"), LISTS | {"id": None}), 400, -32600),
        (with_body(message("x"), LISTS | {"id": True}), 400, -32600),
        (with_body(message("x"), f'{{"jsonrpc": "2.0", "id": {"9" * 5000}}}'), 400, -32700),
        (with_body(message("x"), LISTS | {"id": 1.5}), 400, -32600),
        (with_body(message("x"), LISTS | {"method": 1}), 400, -32600),
        (with_body(message("x"), {"jsonrpc": "2.0", "id": 1, "result": {}}), 400, -32600),
        (with_body(message("x"), {"jsonrpc": "2.0", "method": "tools/call"}), 400, -32600),
        (with_body(message("x"), LISTS | {"params": [1]}), 400, -32602),
        (with_headers(message("tools/list"), Content_Type="text/plain"), 415, -32600),
        (with_headers(message("tools/list"), Origin="https://evil.example"), 403, -32600),
        (with_headers(message("tools/list"), Origin="null"), 403, -32600),
        (message("resources/list"), 404, -32601),
        (message("ping"), 404, -32601),
        (message("resources/list", modern=False), 200, -32601),
        (message("server/discover", modern=False), 200, -32601),
        (tool("draw"), 400, -32602),
        (tool("draw", modern=False), 200, -32602),
        (message("tools/call", arguments={}), 400, -32602),
        (message("tools/call", name="list_jobs", arguments=[1]), 400, -32602),
        (message("tools/list", cursor="more"), 400, -32602),
        (message("initialize", modern=False), 200, -32602),
        (without_meta("protocolVersion"), 400, -32602),
        (without_meta("clientCapabilities"), 400, -32602),
        (with_headers(message("tools/list"), MCP_Protocol_Version=None), 400, -32020),
        (with_headers(message("tools/list"), MCP_Protocol_Version="2025-11-25"), 400, -32020),
        (with_headers(message("tools/list"), Mcp_Method="tools/call"), 400, -32020),
        (with_headers(tool("list_jobs"), Mcp_Name="get_job"), 400, -32020),
        (with_headers(tool("list_jobs"), Mcp_Name=None), 400, -32020),
        (with_headers(tool("list_jobs"), Mcp_Name="=?base64?!?="), 400, -32020),
        (with_headers(message("ping", modern=False), MCP_Protocol_Version="1.0"), 400, -32022),
    ],
)  # fmt: skip
def test_an_error_of_the_protocol_has_its_code(
    aws: Aws, functions: Functions, event: Json, status: int, code: int
) -> None:
    response = functions.mcp(event)
    assert (response["statusCode"], response["json"]["error"]["code"]) == (status, code)
    assert response["json"]["jsonrpc"] == "2.0"
    assert jobs_in(aws) == 0


def test_another_version_is_told_those_that_there_are(functions: Functions) -> None:
    call = message("tools/list")
    body = json.loads(call["body"])
    body["params"]["_meta"] = OTHER_VERSION
    response = functions.mcp(with_headers(with_body(call, body), MCP_Protocol_Version="1900-01-01"))
    assert (response["statusCode"], response["json"]["id"]) == (400, "one")
    assert response["json"]["error"]["code"] == -32022
    data = response["json"]["error"]["data"]
    versions = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
    assert data == {"supported": versions, "requested": "1900-01-01"}


def test_a_name_in_base64_is_the_same_name(functions: Functions) -> None:
    encoded = base64.b64encode(b"list_jobs").decode()
    call = with_headers(tool("list_jobs"), Mcp_Name=f"=?base64?{encoded}?=")
    assert not result_of(functions.mcp(call))["isError"]


@pytest.mark.parametrize(
    ("asked", "agreed"),
    [("2025-06-18", "2025-06-18"), ("2024-11-05", "2025-11-25"), ("2026-07-28", "2025-11-25")],
)
def test_an_older_client_begins_with_a_version(
    functions: Functions, asked: str, agreed: str
) -> None:
    params: Json = {"protocolVersion": asked, "capabilities": {}, "clientInfo": {"name": "old"}}
    begun = functions.mcp(message("initialize", modern=False, **params))
    assert result_of(begun)["protocolVersion"] == agreed
    assert "Mcp-Session-Id" not in begun["headers"]
    after = message("notifications/initialized", modern=False)
    body = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    noted = functions.mcp(with_headers(with_body(after, body), MCP_Protocol_Version=agreed))
    assert (noted["statusCode"], noted["body"]) == (202, "")
    assert result_of(functions.mcp(message("ping", modern=False))) == {}


def test_a_newer_client_discovers_the_server(functions: Functions) -> None:
    found = result_of(functions.mcp(message("server/discover")))
    assert found["supportedVersions"] == ["2026-07-28"]
    assert found["capabilities"] == {"tools": {}}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert found["_meta"]["io.modelcontextprotocol/serverInfo"] == SERVER_INFO
    assert (SERVER_INFO["name"], SERVER_INFO["version"]) == (project["name"], project["version"])


def test_an_allowed_page_may_call(functions: Functions) -> None:
    response = functions.mcp(with_headers(message("tools/list"), Origin="https://app.example.com"))
    assert response["statusCode"] == 200
    assert response["headers"]["Access-Control-Allow-Origin"] == "https://app.example.com"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_there_are_no_streams_and_no_sessions(functions: Functions, method: str) -> None:
    response = functions.mcp(load_event("mcp") | {"httpMethod": method, "body": None})
    assert (response["statusCode"], response["headers"]["Allow"]) == (405, "POST")


def test_the_settings_of_the_documentation_send_a_token_to_the_route() -> None:
    page = (ROOT / "docs/mcp.md").read_text()
    settings = [json.loads(block) for block in re.findall("```json\n(.*?)```", page, re.DOTALL)]
    assert len(settings) == 3
    for one in settings:
        text = json.dumps(one["mcpServers"]["sd3"])
        assert '/v1/mcp"' in text
        assert "Authorization" in text
