"""OpenAI's own SDK for Python, pointed at an address."""

from typing import Any

import httpx
from openai import OpenAI


def python_client(url: str, token: str, connection: httpx.Client) -> OpenAI:
    """Make a client over a connection that no proxy takes part in."""
    legacy: Any = connection  # its types know httpx2 alone, and it takes httpx as well
    return OpenAI(base_url=url, api_key=token, http_client=legacy)


def images_of(answer: Any) -> list[dict[str, Any]]:
    """Return the images of an answer with all of their fields, of which the types know some."""
    return [image.to_dict() for image in answer.data]
