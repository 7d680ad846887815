"""Calls to AWS that a role is tried with: what some function may do, and what none may."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from sd3.adapters.eventbridge import BATCH_ENDED, DETAIL_TYPE, SOURCE, WEBHOOK_DISABLED

OWN_NAME: Final[Mapping[str, tuple[str, str]]] = {
    "bedrock:InvokeModel": ("bedrock-runtime", "InvokeModel"),
    "dynamodb:DescribeStream": ("dynamodbstreams", "DescribeStream"),
    "dynamodb:GetShardIterator": ("dynamodbstreams", "GetShardIterator"),
    "dynamodb:ListStreams": ("dynamodbstreams", "ListStreams"),
    "lambda:InvokeFunction": ("lambda", "Invoke"),
    "s3:ListAllMyBuckets": ("s3", "ListBuckets"),
    "s3:ListBucket": ("s3", "ListObjectsV2"),
}
"""Service and operation of actions that IAM calls by another name."""

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "JobsTable": ("id",),
    "UsageTable": ("client_id", "day"),
    "ClientsTable": ("token_sha256",),
    "UpstreamsTable": ("id",),
    "WebhooksTable": ("client_id", "item"),
    "BatchesTable": ("client_id", "item"),
    "AnotherTable": ("id",),
}
"""The attributes that are the key of an item, by table."""


class Attempt(NamedTuple):
    """One call, and the action and resource that IAM authorizes."""

    action: str
    resource: str
    """As tests/support/privileges.py names it; `Another...` is nothing of the stack's."""
    arguments: dict[str, Any]
    let_through: str = ""
    """The error of the call when IAM allows it. The call is built to change nothing."""

    @property
    def call(self) -> tuple[str, str]:
        """Return the service and the operation."""
        service, _, operation = self.action.partition(":")
        return OWN_NAME.get(self.action, (service, operation))


def on_tables(names: Mapping[str, str]) -> Iterator[Attempt]:
    """Read, write and delete items, and whole tables."""
    for table, attributes in KEYS.items():
        key = {attribute: {"S": "probe"} for attribute in attributes}
        named: dict[str, Any] = {"TableName": names[table]}
        never: dict[str, Any] = {"ConditionExpression": "attribute_exists(nothing)"}
        failed = "ConditionalCheckFailedException"
        by_key = {
            "KeyConditionExpression": "#k = :v",
            "ExpressionAttributeNames": {"#k": attributes[0]},
            "ExpressionAttributeValues": {":v": {"S": "probe"}},
        }
        yield Attempt("dynamodb:GetItem", table, named | {"Key": key})
        batch = {"RequestItems": {names[table]: {"Keys": [key]}}}
        yield Attempt("dynamodb:BatchGetItem", table, batch)
        yield Attempt("dynamodb:PutItem", table, named | never | {"Item": key}, failed)
        yield Attempt("dynamodb:UpdateItem", table, named | never | {"Key": key}, failed)
        yield Attempt("dynamodb:DeleteItem", table, named | {"Key": key})
        yield Attempt("dynamodb:Query", table, named | by_key)
        yield Attempt("dynamodb:Scan", table, named)
        yield Attempt("dynamodb:DescribeTable", table, named)
        yield Attempt("dynamodb:DeleteTable", table, named)
    for table, index, attribute in (
        ("JobsTable", "by_client", "client_shard"),
        ("JobsTable", "failed_by_day", "failed_shard"),
        ("JobsTable", "waiting", "waiting_shard"),
        ("ClientsTable", "by_client_id", "client_id"),
    ):
        arguments = {
            "TableName": names[table],
            "IndexName": index,
            "KeyConditionExpression": f"{attribute} = :v",
            "ExpressionAttributeValues": {":v": {"S": "probe"}},
        }
        yield Attempt("dynamodb:Query", f"{table}/index/{index}", arguments)
    stream = {"StreamArn": names["JobsTable/stream"]}
    yield Attempt("dynamodb:DescribeStream", "JobsTable/stream", stream)
    no_shard = stream | {"ShardId": "shardId-00000000000-00000000", "ShardIteratorType": "LATEST"}
    missing = "ResourceNotFoundException"
    yield Attempt("dynamodb:GetShardIterator", "JobsTable/stream", no_shard, missing)
    yield Attempt("dynamodb:ListStreams", "*", {})
    yield Attempt("dynamodb:ListTables", "*", {})


def on_buckets(names: Mapping[str, str]) -> Iterator[Attempt]:
    """Read, write and delete objects; list, open and remove buckets."""
    for path in (
        "ImagesBucket/probe/job/0.png",
        "ImagesBucket/probe/job/init.png",
        "ImagesBucket/probe/inbox/fox.json",
        "ImagesBucket/probe/batches/batch/results.jsonl",
        "ImagesBucket/_uploads/probe/upload",
        "ImagesBucket/_renditions/probe/job/0.w64.avif",
        "InboxBucket/probe/fox.json",
        "StreamFailuresBucket/aws/lambda/probe",
        "AnotherBucket/probe/fox.json",
    ):
        bucket, _, key = path.partition("/")
        named = {"Bucket": names[bucket], "Key": key}
        yield Attempt("s3:GetObject", path, named, "NoSuchKey")
        yield Attempt("s3:PutObject", path, named | {"Body": b"probe"})
        yield Attempt("s3:DeleteObject", path, named)
    for bucket in ("ImagesBucket", "InboxBucket", "StreamFailuresBucket", "AnotherBucket"):
        named = {"Bucket": names[bucket]}
        yield Attempt("s3:ListBucket", bucket, named)
        yield Attempt("s3:PutBucketPolicy", bucket, named | {"Policy": "{}"})
        yield Attempt("s3:DeleteBucketPolicy", bucket, named)
        yield Attempt("s3:DeleteBucket", bucket, named)
    for prefix in ("_renditions/probe/", "probe/"):
        part = {"Bucket": names["ImagesBucket"], "Prefix": prefix}
        yield Attempt("s3:ListBucket", f"ImagesBucket?prefix={prefix}", part)
    yield Attempt("s3:ListAllMyBuckets", "*", {})


def on_queues(names: Mapping[str, str]) -> Iterator[Attempt]:
    """Send, read and remove messages; change and remove queues."""
    queues = ("Jobs", "BatchJobs", "Batch", "DeadLetters", "Deliveries", "Unprocessable", "Another")
    for queue in (f"{name}Queue" for name in queues):
        named: dict[str, Any] = {"QueueUrl": names[queue]}
        handle = named | {"ReceiptHandle": "probe"}
        too_late = named | {"MessageBody": "probe", "DelaySeconds": 901}
        yield Attempt("sqs:SendMessage", queue, too_late, "InvalidParameterValue")
        yield Attempt("sqs:ReceiveMessage", queue, named | {"VisibilityTimeout": 0})
        yield Attempt("sqs:DeleteMessage", queue, handle, "ReceiptHandleIsInvalid")
        now = handle | {"VisibilityTimeout": 0}
        yield Attempt("sqs:ChangeMessageVisibility", queue, now, "ReceiptHandleIsInvalid")
        yield Attempt("sqs:GetQueueAttributes", queue, named)
        yield Attempt("sqs:SetQueueAttributes", queue, named | {"Attributes": {"Policy": ""}})
        yield Attempt("sqs:PurgeQueue", queue, named)
        yield Attempt("sqs:DeleteQueue", queue, named)


def on_secrets(names: Mapping[str, str]) -> Iterator[Attempt]:
    """Read, write and remove secrets; use a key."""
    for secret in ("UpstreamSecretArn", "MasterSecret", "AnotherSecret"):
        named = {"SecretId": names[secret]}
        yield Attempt("secretsmanager:GetSecretValue", secret, named)
        yield Attempt("secretsmanager:PutSecretValue", secret, named | {"SecretString": "probe"})
        yield Attempt("secretsmanager:DeleteSecret", secret, named)
    yield Attempt("secretsmanager:ListSecrets", "*", {})
    text = {"KeyId": names["AnotherKey"], "Plaintext": b"probe"}
    yield Attempt("kms:Encrypt", "AnotherKey", text)


def on_functions(names: Mapping[str, str]) -> Iterator[Attempt]:
    """Call and change functions, take on and widen roles."""
    for function in ("JobsFunction", "WorkerFunction", "NotificationsFunction"):
        named = {"FunctionName": names[function]}
        yield Attempt("lambda:InvokeFunction", function, named | {"Payload": b"{}"})
        yield Attempt("lambda:GetFunction", function, named)
        yield Attempt("lambda:UpdateFunctionConfiguration", function, named | {"Timeout": 1})
    code = {"Code": {"ZipFile": b""}, "Runtime": "python3.13", "Handler": "app.handler"}
    passed = {"FunctionName": "probe", "Role": names["WorkerFunctionRole"]} | code
    yield Attempt("lambda:CreateFunction", "AnotherFunction", passed)
    for role in ("WorkerFunctionRole", "AuthorizerFunctionRole"):
        all_of_it = '{"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        named = {"RoleName": names[role].rpartition("/")[2]}
        put = named | {"PolicyName": "probe", "PolicyDocument": all_of_it}
        yield Attempt("iam:PutRolePolicy", role, put)
        yield Attempt("iam:GetRole", role, named)
        assumed = {"RoleArn": names[role], "RoleSessionName": "probe"}
        yield Attempt("sts:AssumeRole", role, assumed)
    yield Attempt("iam:CreateUser", "AnotherUser", {"UserName": "probe"})


def on_the_rest(names: Mapping[str, str]) -> Iterator[Attempt]:
    """Make the calls to events, logs, models, and the stack itself."""
    detail = '{"id": "probe", "client_id": "probe"}'  # as those that listen read it
    ours = {"Source": SOURCE, "DetailType": DETAIL_TYPE, "Detail": detail}
    bus, disabled = "event-bus/${EventBusName}?detail-type=", {"DetailType": WEBHOOK_DISABLED}
    for name, entry in (
        (bus + DETAIL_TYPE, ours | {"EventBusName": "default"}),
        (bus + WEBHOOK_DISABLED, ours | disabled | {"EventBusName": "default"}),
        (bus + BATCH_ENDED, ours | {"DetailType": BATCH_ENDED, "EventBusName": "default"}),
        ("event-bus/another", ours | {"EventBusName": "another"}),
        ("AnotherSource", ours | {"EventBusName": "default", "Source": "probe"}),
        ("AnotherType", ours | {"EventBusName": "default", "DetailType": "probe"}),
    ):
        yield Attempt("events:PutEvents", name, {"Entries": [entry]})
    rule = {"Name": "probe", "EventPattern": '{"source": ["probe"]}'}
    yield Attempt("events:PutRule", "AnotherRule", rule)
    for group in ("FunctionsLogGroup", "ApiLogGroup", "AnotherLogGroup"):
        named = {"logGroupName": names[group]}
        stream = named | {"logStreamName": "probe"}
        event = {"timestamp": 0, "message": "probe"}
        exists = "ResourceAlreadyExistsException"
        yield Attempt("logs:CreateLogGroup", group, named, exists)
        yield Attempt("logs:CreateLogStream", group, stream, exists)
        yield Attempt("logs:PutLogEvents", group, stream | {"logEvents": [event]})
        yield Attempt("logs:GetLogEvents", group, stream, "ResourceNotFoundException")
        yield Attempt("logs:DeleteLogGroup", group, named)
    model = {"modelId": "stability.sd3-5-large-v1:0", "body": b"{}"}
    yield Attempt("bedrock:InvokeModel", "AnotherModel", model)
    yield Attempt("cloudformation:DeleteStack", "AnotherStack", {"StackName": "probe"})


def attempts(names: Mapping[str, str]) -> list[Attempt]:
    """Make all calls; `names` has the physical names of the resources."""
    parts = (on_tables, on_buckets, on_queues, on_secrets, on_functions, on_the_rest)
    return [attempt for part in parts for attempt in part(names)]
