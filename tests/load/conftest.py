"""The stack of the e2e tests, for tests that take minutes."""

from tests.e2e.conftest import api, http, issuer, new_token, operator, stack

__all__ = ["api", "http", "issuer", "new_token", "operator", "stack"]
