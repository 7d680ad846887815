"""The TLS context of this process, which reads the certificates of its CAs once."""

import ssl
from functools import cache
from typing import Any

from urllib3.util.ssl_ import create_urllib3_context


@cache
def tls_context(ca_file: str) -> ssl.SSLContext:
    """Build the context for servers whose certificates are signed by the CAs in a PEM file.

    urllib3 has a context read that file again for each new connection. The usual file takes some
    30 ms of a whole CPU, and 16 connections to S3 would take half a second. Raises OSError for a
    file that cannot be read.
    """
    context = create_urllib3_context()
    read_once: Any = cache(context.load_verify_locations)
    context.load_verify_locations = read_once  # type: ignore[method-assign]
    context.load_verify_locations(ca_file, None, None)  # the arguments that urllib3 gives
    return context
