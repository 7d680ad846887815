"""The AWS clients: how long they wait, how they sign, and what their errors become."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.credentials import Credentials, RefreshableCredentials
from botocore.exceptions import ClientError, EndpointConnectionError
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import ReadTimeoutError

from sd3.adapters.aws import POOL_SIZE, Aws, storage_errors
from sd3.errors import NotFoundError, StorageBusyError, StorageError

EXPIRY = datetime(2099, 11, 23, 12, tzinfo=timezone(timedelta(hours=2)))


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return Aws()


def test_every_client_times_out_and_is_created_once(aws: Aws) -> None:
    for name in ("dynamodb", "sqs", "events", "secrets", "s3"):
        client = getattr(aws, name)
        config = client.meta.config
        assert (config.connect_timeout, config.read_timeout) == (2, 5 if name == "s3" else 2)
        assert config.retries == {"mode": "standard", "total_max_attempts": 3}
        assert config.max_pool_connections == POOL_SIZE == 16
        assert getattr(aws, name) is client


def test_a_link_is_signed_for_the_buckets_regional_host(aws: Aws) -> None:
    link = aws.s3.generate_presigned_url("get_object", Params={"Bucket": "images", "Key": "a/b"})
    assert urlsplit(link).netloc == "images.s3.eu-central-1.amazonaws.com"
    assert parse_qs(urlsplit(link).query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]


def test_credentials_that_stay_have_no_expiry(aws: Aws) -> None:
    assert aws.credentials_expiry() is None


def test_credentials_of_a_role_have_an_expiry_in_utc(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    role = RefreshableCredentials("a", "b", "c", EXPIRY, dict, "role")
    monkeypatch.setattr("boto3.Session.get_credentials", lambda _session: role)
    expiry = aws.credentials_expiry()
    assert (expiry, expiry and expiry.tzinfo) == (EXPIRY, UTC)


def test_a_signature_covers_the_headers_and_carries_the_session(
    aws: Aws, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Credentials("id", "secret", "token")
    monkeypatch.setattr("boto3.Session.get_credentials", lambda _session: session)
    sign = aws.signer("bedrock", "us-west-2")
    headers = sign("https://bedrock.example/model", b"{}", {"Accept": "image/png"})
    assert headers["Accept"] == "image/png"
    assert headers["X-Amz-Security-Token"] == "token"
    assert "/us-west-2/bedrock/aws4_request" in headers["Authorization"]
    assert "SignedHeaders=accept;host;x-amz-date;x-amz-security-token" in headers["Authorization"]


def test_nothing_is_signed_without_credentials(aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boto3.Session.get_credentials", lambda _session: None)
    with pytest.raises(StorageError, match="no AWS credentials"):
        aws.signer("bedrock", "us-west-2")("https://bedrock.example/model", b"{}", {})


def failure(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "of AWS"}}, "GetObject")


@pytest.mark.parametrize(
    "error",
    [
        failure("InternalError"),
        EndpointConnectionError(endpoint_url="https://s3.test"),
        ReadTimeoutError(HTTPConnectionPool("s3.test"), "/", "timed out"),
    ],
)
def test_every_failure_of_aws_is_one_of_storage(error: Exception) -> None:
    with (
        pytest.raises(StorageError, match=r"^It could not be read\.$") as caught,
        storage_errors("It could not be read."),
    ):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    ("code", "is_busy"),
    [
        ("ProvisionedThroughputExceededException", True),  # DynamoDB: a table or a partition
        ("RequestLimitExceeded", True),  # DynamoDB: the account
        ("ThrottlingException", True),  # DynamoDB, EventBridge, Secrets Manager, KMS behind S3
        ("RequestThrottled", True),  # SQS
        ("KMS.ThrottlingException", True),  # SQS with a KMS key
        ("SlowDown", True),  # S3
        ("ServiceUnavailable", True),  # S3
        ("503", True),  # S3, for HEAD
        ("InternalServerError", False),  # the write may have been done
        ("TransactionInProgressException", False),  # DynamoDB: the first try, which may succeed
        ("InternalError", False),
        ("AccessDeniedException", False),  # would be the same again
        ("ResourceNotFoundException", False),
        ("ValidationException", False),
        ("ItemCollectionSizeLimitExceededException", False),
    ],
)
def test_a_call_that_aws_has_not_taken_is_told_from_one_that_failed(
    code: str, is_busy: bool
) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("It could not be read."):
        raise failure(code)
    assert isinstance(caught.value, StorageBusyError) == is_busy
    assert caught.value.status == (503 if is_busy else 500)
    assert caught.value.message == "It could not be read."


def test_a_code_can_be_ignored_or_mean_another_error() -> None:
    treated: Any = {
        "ignored": ("PreconditionFailed",),
        "instead": {"NoSuchKey": lambda error: NotFoundError(error.response["Error"]["Message"])},
    }
    with storage_errors("It could not be read.", **treated):
        raise failure("PreconditionFailed")
    with (
        pytest.raises(NotFoundError, match="of AWS"),
        storage_errors("It could not be read.", **treated),
    ):
        raise failure("NoSuchKey")
    with pytest.raises(StorageError), storage_errors("It could not be read.", **treated):
        raise failure("AccessDenied")


def test_an_error_of_ours_passes_unchanged() -> None:
    with pytest.raises(NotFoundError), storage_errors("It could not be read."):
        raise NotFoundError("no")
