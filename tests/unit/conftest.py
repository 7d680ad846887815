"""Fixtures that more than one folder of unit tests takes."""

from tests.unit.upstreams.calling import serve

__all__ = ["serve"]
