"""The AWS clients: botocore, made when first used, each once."""

import gc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.loaders import Loader

from sd3.errors import StorageError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

POOL_SIZE = 16
"""Connections to S3: one for each image of the largest request."""

_SERVICES = ("dynamodb", "events", "s3", "secretsmanager", "sqs")

_CONNECT_SECONDS = 2

_READ_SECONDS = 10

_ATTEMPTS = 4


class Aws:
    """Clients of one process. botocore alone: boto3's resources would only cost import time."""

    @cached_property
    def _session(self) -> botocore.session.Session:
        session = botocore.session.get_session()
        session.register_component("data_loader", _Loader(include_default_search_paths=True))
        return session

    @cached_property
    def dynamodb(self) -> "DynamoDBClient":
        """DynamoDB."""
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def sqs(self) -> "SQSClient":
        """SQS."""
        client: SQSClient = self._client("sqs")
        return client

    @cached_property
    def events(self) -> "EventBridgeClient":
        """EventBridge."""
        client: EventBridgeClient = self._client("events")
        return client

    @cached_property
    def secrets(self) -> "SecretsManagerClient":
        """Secrets Manager."""
        client: SecretsManagerClient = self._client("secretsmanager")
        return client

    @cached_property
    def s3(self) -> "S3Client":
        """S3 with links that are signed by v4 for the bucket's own regional host name.

        Bodies are not hashed again for the request's signature: what is put names its SHA-256 in
        a signed header, and S3 holds the body against that.
        """
        client: S3Client = self._client(
            "s3",
            signature_version="s3v4",
            s3={"addressing_style": "virtual", "payload_signing_enabled": False},
        )
        return client

    def credentials_expiry(self) -> datetime | None:
        """When the present credentials end (UTC); None where that is not said."""
        credentials = self._session.get_credentials()
        if not isinstance(credentials, RefreshableCredentials):
            return None
        credentials.get_frozen_credentials()  # refreshes them first when they are about to end
        # botocore has no public name for it.
        expiry: datetime = vars(credentials)["_expiry_time"]
        return expiry.astimezone(UTC)

    def signer(
        self, service: str, region: str
    ) -> Callable[[str, bytes, Mapping[str, str]], dict[str, str]]:
        """Sign POSTs to a service that botocore need not be asked for: its model takes long."""

        def sign(url: str, body: bytes, headers: Mapping[str, str]) -> dict[str, str]:
            request = AWSRequest(method="POST", url=url, data=body, headers=dict(headers))
            credentials = self._session.get_credentials()
            if credentials is None:
                raise StorageError("There are no AWS credentials.")
            SigV4Auth(credentials.get_frozen_credentials(), service, region).add_auth(request)
            return dict(request.headers.items())

        return sign

    def _client(self, service: str, **options: Any) -> Any:
        """Make a client while no garbage is collected: all that is made here stays.

        The collector would go over the 10^5 objects of a service's model several times.
        """
        config = Config(
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_READ_SECONDS,
            retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
            max_pool_connections=POOL_SIZE,
            parameter_validation=False,  # mypy has done it
            **options,
        )
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._session.create_client(service, config=config)
        finally:
            if collecting:
                gc.enable()


class _Loader(Loader):
    """botocore's data of the services above: it would list the folders of all 400 at first use."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002
        return list(_SERVICES)
