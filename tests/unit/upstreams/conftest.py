"""Fixtures of the tests of upstreams."""

from tests.unit.upstreams.facing import face

__all__ = ["face"]
