"""The stack of the load tests, whose upstream counts, and a client's address and key."""

import os
from collections.abc import Callable

# Imported by pytest before any client. LiteLLM reads a list of prices from GitHub without this.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import pytest

from local.stack import Stack
from tests.e2e.conftest import http, new_token, operator
from tests.load.conftest import stack, upstream
from tests.support.openai_clients import Door

__all__ = ["http", "new_token", "operator", "stack", "upstream"]


@pytest.fixture
def door(stack: Stack, new_token: Callable[[], str]) -> Door:
    """Provide the address, and the key of a new client."""
    return Door(stack.api_url, new_token())


def pytest_configure(config: pytest.Config) -> None:
    """Leave to LangChain and LiteLLM what they warn of when they are imported."""
    config.addinivalue_line("filterwarnings", "ignore:.langchain-community. is being sunset")
    config.addinivalue_line("filterwarnings", "ignore:Items? .* using the .ReadOnly. qualifier")
