"""The AWS clients of one process, created on first use, and the translation of their errors."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, TypeVar

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import get_cert_path
from urllib3.exceptions import HTTPError

from sd3.errors import StorageBusyError, StorageError
from sd3.tls import tls_context

if TYPE_CHECKING:
    from botocore.client import BaseClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

POOL_SIZE: Final = 16
"""Connections of each client. S3 needs one for each image of the largest request."""

TIMEOUT: Final = 2
"""Seconds without an answer after which a connect or a read has failed."""

AUTHORIZER_TIMEOUT: Final = 1
"""The same for the authorizer, for which every request waits, and which has 10 s."""

S3_READ_TIMEOUT: Final = 5
"""The same for a read from S3, which answers to an image when it has stored it."""

_ATTEMPTS: Final = 3
"""The calls that one call can become. All of them and the waits in between have to end before the
function does: otherwise its caller gets no answer, and nothing is logged."""

_BUSY: Final = frozenset(
    (
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "ServiceUnavailable",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "KMS.ThrottlingException",
        "503",
    )
)
"""The codes of calls that AWS did not take, because there were too many of them: on a table, a
queue, a bucket's prefix, a KMS key or the account. HEAD in S3 has its status as the code."""

Client = TypeVar("Client", bound="BaseClient")


class Aws:
    """The AWS clients of one process."""

    def __init__(self, *, timeout: int = TIMEOUT) -> None:
        """Set up without a client; `timeout` has seconds for a connect or a read."""
        self._config = Config(
            connect_timeout=timeout,
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=POOL_SIZE,
        )

    @cached_property
    def _session(self) -> boto3.Session:
        return boto3.Session()

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """Create the client of DynamoDB."""
        return _with_tls(self._session.client("dynamodb", config=self._config))

    @cached_property
    def sqs(self) -> "SQSClient":
        """Create the client of SQS."""
        return _with_tls(self._session.client("sqs", config=self._config))

    @cached_property
    def events(self) -> "EventBridgeClient":
        """Create the client of EventBridge."""
        return _with_tls(self._session.client("events", config=self._config))

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        """Create the client of Secrets Manager."""
        return _with_tls(self._session.client("secretsmanager", config=self._config))

    @cached_property
    def s3(self) -> "S3Client":
        """Create the client of S3. It signs links for the bucket's own regional host name.

        The request's signature does not cover the hash of a body. Every put has the body's SHA-256
        in a signed header, and S3 checks the body against it.
        """
        config = Config(
            read_timeout=S3_READ_TIMEOUT,
            signature_version="s3v4",
            s3={"addressing_style": "virtual", "payload_signing_enabled": False},
        )
        return _with_tls(self._session.client("s3", config=self._config.merge(config)))

    def credentials_expiry(self) -> datetime | None:
        """Return when the current credentials expire (UTC), or None if that is unknown."""
        credentials = self._session.get_credentials()
        if not isinstance(credentials, RefreshableCredentials):
            return None
        credentials.get_frozen_credentials()  # refreshes credentials that are about to expire
        # botocore has no public attribute for the expiry.
        expiry: datetime = vars(credentials)["_expiry_time"]
        return expiry.astimezone(UTC)

    def signer(
        self, service: str, region: str
    ) -> Callable[[str, bytes, Mapping[str, str]], dict[str, str]]:
        """Return a function that signs a POST to a service, without a client of that service.

        The function takes a URL, a body and headers, and returns the headers with the signature.
        It raises StorageError where there are no credentials.
        """

        def sign(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
            request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
            credentials = self._session.get_credentials()
            if credentials is None:
                raise StorageError("There are no AWS credentials.")
            SigV4Auth(credentials.get_frozen_credentials(), service, region).add_auth(request)
            return dict(request.headers.items())

        return sign


def _with_tls(client: Client) -> Client:
    """Let a client use the TLS context of this process; return it.

    botocore has no option for it: it makes a context for each client.
    """
    http: Any = vars(client)["_endpoint"].http_session
    if client.meta.endpoint_url.startswith("https:"):
        context = tls_context(get_cert_path(vars(http)["_verify"]))
        vars(http)["_manager"].connection_pool_kw["ssl_context"] = context
    return client


@contextmanager
def storage_errors(
    message: str,
    *,
    ignored: Collection[str] = (),
    instead: Mapping[str, Callable[[ClientError], Exception]] = MappingProxyType({}),
) -> Iterator[None]:
    """Raise StorageError with `message` for every failure of AWS in the block.

    It is a StorageBusyError for a call that AWS did not take, even after botocore's retries. After
    any other failure, a write may have been done. Two kinds of error codes are exceptions. A code
    in `ignored` ends the block without an error. For a code in `instead`, its function returns the
    exception to raise.
    """
    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ignored:
            return
        if make_error := instead.get(code):
            raise make_error(error) from error
        raise (StorageBusyError if code in _BUSY else StorageError)(message) from error
    except (BotoCoreError, HTTPError) as error:  # reading a body can raise HTTPError
        raise StorageError(message) from error
