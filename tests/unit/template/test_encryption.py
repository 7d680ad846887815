"""How the template encrypts stored data: with AWS's keys, or with a key of the operator."""

from typing import Any

import pytest

from tests.support.factories.template import of_type, resolved, translated

KEY = {"Ref": "KmsKeyArn"}
KEYS = pytest.mark.parametrize("holding", [set(), {"HasKmsKey"}], ids=["no key", "a key"])


def resources_storing(kind: str, holding: set[str]) -> list[Any]:
    """Return the properties of all resources of a kind, where these conditions hold."""
    found = [resolved(r["Properties"], holding) for r in of_type(translated(), kind).values()]
    assert found
    return found


@KEYS
def test_buckets_are_encrypted_by_s3_or_with_the_key(holding: set[str]) -> None:
    by_s3 = {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    with_key = {
        "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY},
        "BucketKeyEnabled": True,
    }
    for bucket in resources_storing("AWS::S3::Bucket", holding):
        [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == (with_key if holding else by_s3)


@KEYS
def test_queues_are_encrypted_by_sqs_or_with_the_key(holding: set[str]) -> None:
    for queue in resources_storing("AWS::SQS::Queue", holding):
        encryption = {k: v for k, v in queue.items() if "Sse" in k or "Kms" in k}
        assert encryption == (
            {"KmsMasterKeyId": KEY} if holding else {"SqsManagedSseEnabled": True}
        )


@KEYS
def test_tables_are_encrypted_by_dynamodb_or_with_the_key(holding: set[str]) -> None:
    with_key = {"SSEEnabled": True, "SSEType": "KMS", "KMSMasterKeyId": KEY}
    for table in resources_storing("AWS::DynamoDB::Table", holding):
        assert table.get("SSESpecification") == (with_key if holding else None)
