"""Fixtures that more than one folder of unit tests takes."""

from tests.support.factories.certificates import certificate, tls
from tests.support.factories.http_caller import serve

__all__ = ["certificate", "serve", "tls"]
