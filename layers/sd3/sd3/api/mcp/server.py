"""The Model Context Protocol: one JSON-RPC message in a POST, one response, and no state.

Clients are of two eras. Since revision 2026-07-28 every request says its protocol version itself,
in `_meta` and in headers that repeat parts of the body. Older clients begin with `initialize`, and
then send the version that was agreed on as a header, or none. Both are served at one address. What
a tool fails with is a result of the tool, since a language model is to read it. Errors of the
protocol are JSON-RPC errors, which only the older clients expect with status 200.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from pydantic import BaseModel

from sd3.api.app import Response, log_error
from sd3.api.mcp.messages import (
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    MODERN_VERSIONS,
    OLD_VERSIONS,
    PREFIX,
    Call,
    RpcError,
    check_origin,
    id_of,
    is_notification,
    is_old,
    read_call,
    read_message,
)
from sd3.api.request import Request, checked
from sd3.domain.client import require
from sd3.errors import (
    FieldError,
    InvalidRequestError,
    RateLimitedError,
    Sd3Error,
    UpstreamUnavailableError,
)

SERVER_INFO: Final = {"name": "sd3-image-service", "version": "0.1.0"}

_MAX_ARGUMENTS: Final = 100
"""Most arguments of a call. More of them are one error, not one each."""

_TOOLS_TTL_MS: Final = 300_000

_HEADERS: Final = {"Content-Type": "application/json", "Cache-Control": "no-store"}

_Method = Callable[[Request, Mapping[str, Any]], dict[str, Any]]
Content = Sequence[Mapping[str, Any]]


class ToolResult(NamedTuple):
    """What a tool returns: blocks of content, and the same as an object if it has a schema."""

    content: Content
    structured: Mapping[str, Any] | None = None
    is_error: bool = False


class Tool(NamedTuple):
    """A tool as clients see it, what it takes, and the function that it is."""

    title: str
    description: str
    scope: str
    arguments: type[BaseModel]
    result: type[BaseModel] | None
    """The model of `ToolResult.structured`. Some clients show their model only that, and no images;
    so a tool that returns images has none."""
    annotations: Mapping[str, bool]
    call: Callable[[Request, Any], ToolResult]

    def described(self, name: str) -> dict[str, Any]:
        """Return the entry of tools/list."""
        entry: dict[str, Any] = {
            "name": name,
            "title": self.title,
            "description": self.description,
            "inputSchema": self.arguments.model_json_schema(),
            "annotations": self.annotations,
        }
        if self.result:
            entry["outputSchema"] = self.result.model_json_schema(mode="serialization")
        return entry


@dataclass(frozen=True, kw_only=True)
class McpServer:
    """Answers the messages of clients; `tools` are listed in their order."""

    tools: Mapping[str, Tool]
    instructions: str

    def respond(self, request: Request) -> Response:
        """Respond to one message. It raises nothing that is the client's mistake."""
        identity: dict[str, str | int] = {}
        is_from_old_client = False
        try:
            check_origin(request)
            message = read_message(request)
            if is_notification(message):  # none of them means anything here
                return Response(202)
            identity = {"id": id_of(message)}
            is_from_old_client = is_old(request, message)
            answer: dict[str, Any] = {"result": self._result(request, read_call(request, message))}
            status = 200
        except RpcError as error:
            fields = {"code": error.code, "message": error.message, "data": error.data}
            answer = {"error": {name: value for name, value in fields.items() if value is not None}}
            # Older clients take a 404 for the end of their session.
            is_ok = is_from_old_client and error.code in {METHOD_NOT_FOUND, INVALID_PARAMS}
            status = 200 if is_ok else error.status
        text = json.dumps({"jsonrpc": "2.0", **identity, **answer}, ensure_ascii=False)
        return Response(status, text, _HEADERS)

    def _result(self, request: Request, call: Call) -> dict[str, Any]:
        methods = self._modern_methods() if call.is_modern else self._old_methods()
        answer = methods.get(call.method)
        if answer is None:
            raise RpcError(METHOD_NOT_FOUND, "There is no such method.", status=404)
        result = answer(request, call.params)
        if call.is_modern:
            result |= {"resultType": "complete", "_meta": {f"{PREFIX}serverInfo": SERVER_INFO}}
        return result

    def _modern_methods(self) -> Mapping[str, _Method]:
        return {
            "server/discover": self._discover,
            "tools/list": self._list_modern,
            "tools/call": self._call_tool,
        }

    def _old_methods(self) -> Mapping[str, _Method]:
        return {
            "initialize": self._initialize,
            "ping": self._ping,
            "tools/list": self._list_tools,
            "tools/call": self._call_tool,
        }

    def _discover(self, _request: Request, _params: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "supportedVersions": list(MODERN_VERSIONS),
            "capabilities": {"tools": {}},
            "instructions": self.instructions,
            "ttlMs": 3_600_000,
            "cacheScope": "public",
        }

    def _initialize(self, _request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
        asked = params.get("protocolVersion")
        if not isinstance(asked, str):
            raise RpcError(INVALID_PARAMS, "params.protocolVersion should be a string.")
        return {
            "protocolVersion": asked if asked in OLD_VERSIONS else OLD_VERSIONS[0],
            "capabilities": {"tools": {}},
            "serverInfo": SERVER_INFO,
            "instructions": self.instructions,
        }

    def _ping(self, _request: Request, _params: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def _list_tools(self, request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
        """List the tools that the token may call."""
        if params.get("cursor") is not None:
            raise RpcError(INVALID_PARAMS, "There is no such cursor: the list is one page.")
        return {
            "tools": [
                tool.described(name)
                for name, tool in self.tools.items()
                if tool.scope in request.scopes
            ]
        }

    def _list_modern(self, request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
        hints = {"ttlMs": _TOOLS_TTL_MS, "cacheScope": "private"}
        return self._list_tools(request, params) | hints

    def _call_tool(self, request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments")
        tool = self.tools.get(name) if isinstance(name, str) else None
        if tool is None:
            known = ", ".join(self.tools)
            raise RpcError(INVALID_PARAMS, f"There is no such tool. The tools are {known}.")
        if not isinstance(arguments, dict | None):
            raise RpcError(INVALID_PARAMS, "params.arguments should be an object.")
        result = _called(tool, request, arguments or {})
        body: dict[str, Any] = {"content": result.content, "isError": result.is_error}
        return (
            body if result.structured is None else body | {"structuredContent": result.structured}
        )


def text_block(text: str) -> dict[str, str]:
    """Make a block of text."""
    return {"type": "text", "text": text}


def _called(tool: Tool, request: Request, arguments: Mapping[str, Any]) -> ToolResult:
    """Call a tool. What goes wrong, a bug too, is a result that the model can read."""
    try:
        require(tool.scope, request.scopes)
        return tool.call(request, _checked(tool.arguments, arguments))
    except Sd3Error as error:
        log_error(error)
        return error_result(error)
    except Exception as bug:  # noqa: BLE001 - as RestApi answers a bug
        unexpected = Sd3Error("Something went wrong here.")
        log_error(unexpected, bug)
        return error_result(unexpected)


def _checked(model: type[BaseModel], arguments: Mapping[str, Any]) -> BaseModel:
    if len(arguments) > _MAX_ARGUMENTS:
        msg = f"There should be at most {_MAX_ARGUMENTS} arguments"
        raise InvalidRequestError([FieldError(("arguments",), msg, "too_long")])
    # Many clients send null for what their model left out.
    given = {name: value for name, value in arguments.items() if value is not None}
    return checked(model, given, "arguments")


def error_result(error: Sd3Error) -> ToolResult:
    """Render an error for a language model: its code, what is wrong, and what to do about it."""
    lines = [f"{error.code}: {error.message}"]
    if isinstance(error, InvalidRequestError) and error.field_errors:
        wrong = [(".".join(map(str, one.loc[1:])), one.msg) for one in error.field_errors]
        lines = [f"{error.code}: Nothing was done, since arguments are wrong."]
        lines += [f"{name or 'arguments'}: {msg}" for name, msg in wrong]
    if isinstance(error, RateLimitedError | UpstreamUnavailableError) and error.retry_after:
        lines.append(f"Ask again in {error.retry_after:.0f} seconds.")
    if error.job_id:
        lines.append(f"The job is {error.job_id}: call get_job before you generate it again.")
    return ToolResult([text_block("\n".join(lines))], is_error=True)
