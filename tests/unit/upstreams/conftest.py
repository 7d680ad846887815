"""Fixtures of the tests of upstreams."""

from tests.support.servers.vendor_client import face

__all__ = ["face"]
