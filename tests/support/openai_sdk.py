"""OpenAI's own SDK for Python, pointed at an address."""

import httpx
from openai import OpenAI


def python_client(
    url: str, token: str, connection: httpx.Client, *, max_retries: int = 2
) -> OpenAI:
    """Make a client over a connection that no proxy takes part in."""
    return OpenAI(base_url=url, api_key=token, http_client=connection, max_retries=max_retries)
