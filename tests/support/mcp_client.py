"""python mcp_client.py < calls.json: call tools by the client of the package mcp, as an agent does.

It runs in the environment of requirements/mcp.txt. The input is {url, token, mode, calls}, of which
`mode` is the client's own word for an era. Prints what the client found of the server, and the
result or the error of each call.
"""

import asyncio
import json
import sys
from typing import Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client


async def outcome(client: Client, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call one tool; return its result, or the JSON-RPC error."""
    try:
        result = await client.call_tool(name, arguments)
    except MCPError as error:
        return {"error": {"code": error.error.code, "message": error.error.message}}
    shown: dict[str, Any] = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    return shown


async def used(asked: dict[str, Any]) -> dict[str, Any]:
    """Connect, list the tools and call some of them."""
    headers = {"Authorization": f"Bearer {asked['token']}"}
    http = httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False)
    transport = streamable_http_client(asked["url"], http_client=http)
    async with http, Client(transport, mode=asked["mode"]) as client:
        listed = await client.list_tools()
        return {
            "version": client.protocol_version,
            "server": client.server_info and client.server_info.name,
            "instructions": client.instructions,
            "tools": [tool.name for tool in listed.tools],
            "results": [await outcome(client, *call) for call in asked["calls"]],
        }


def main() -> None:
    """Read the calls, make them, and print what came of them."""
    json.dump(asyncio.run(used(json.load(sys.stdin))), sys.stdout)


if __name__ == "__main__":
    main()
