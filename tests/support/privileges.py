"""What the role of each function may do, and no more: who changes a policy changes this table.

Resources have the names of the template, and objects the name of their bucket in front. A bucket
that may be listed in part has the prefix behind, and a bus the kind of the events. Two tests
hold it: against the policies as SAM translates them, and against the deployed stack.
"""

from fnmatch import fnmatchcase
from typing import Final

Grants = dict[str, set[str]]
"""Actions, by the resource that they are allowed on."""

LOGS: Final[Grants] = {
    "FunctionsLogGroup": {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"}
}
"""Of every function."""

GENERATING: Final = ("GenerateFunction", "WorkerFunction")
"""The functions that call upstreams, and that store and sign what these generate."""

GRANTS: Final[dict[str, Grants]] = {
    "AuthorizerFunction": {"ClientsTable": {"dynamodb:GetItem"}},
    "GenerateFunction": {
        "JobsTable": {"dynamodb:GetItem", "dynamodb:PutItem"},
        "UsageTable": {"dynamodb:UpdateItem", "dynamodb:Query"},
        "JobsTable/index/waiting": {"dynamodb:Query"},
        "UpstreamsTable": {"dynamodb:GetItem", "dynamodb:UpdateItem"},
        "ImagesBucket/*": {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"},
        "JobsQueue": {"sqs:SendMessage"},
        "UpstreamSecretArn": {"secretsmanager:GetSecretValue"},
        "MasterSecret": {"secretsmanager:GetSecretValue"},
    },
    "JobsFunction": {
        "JobsTable": {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"},
        "UsageTable": {"dynamodb:UpdateItem", "dynamodb:Query"},
        "JobsTable/index/by_client": {"dynamodb:Query"},
        "JobsTable/index/waiting": {"dynamodb:Query"},
        "ImagesBucket/*": {"s3:GetObject", "s3:DeleteObject"},
        "ImagesBucket/_uploads/*": {"s3:PutObject"},
        "ImagesBucket/_renditions/*": {"s3:PutObject"},
        "ImagesBucket?prefix=_renditions/*": {"s3:ListBucket"},
        "MasterSecret": {"secretsmanager:GetSecretValue"},
    },
    "McpFunction": {
        "JobsTable": {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"},
        "UsageTable": {"dynamodb:UpdateItem", "dynamodb:Query"},
        "UpstreamsTable": {"dynamodb:GetItem"},
        "JobsTable/index/by_client": {"dynamodb:Query"},
        "JobsTable/index/waiting": {"dynamodb:Query"},
        "ImagesBucket/*": {"s3:GetObject"},
        "ImagesBucket/*/init.*": {"s3:PutObject", "s3:DeleteObject"},
        "JobsQueue": {"sqs:SendMessage"},
    },
    "WorkerFunction": {
        "JobsTable": {"dynamodb:GetItem", "dynamodb:PutItem"},
        "UpstreamsTable": {"dynamodb:GetItem", "dynamodb:UpdateItem"},
        "ImagesBucket/*": {"s3:PutObject", "s3:DeleteObject"},
        "ImagesBucket/*/init.*": {"s3:GetObject"},
        "JobsQueue": {
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
        },
        "BatchJobsQueue": {
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
        },
        "UnprocessableQueue": {"sqs:SendMessage"},
        "UpstreamSecretArn": {"secretsmanager:GetSecretValue"},
        "MasterSecret": {"secretsmanager:GetSecretValue"},
    },
    "DeadLettersFunction": {
        "JobsTable": {"dynamodb:GetItem", "dynamodb:PutItem"},
        "DeadLettersQueue": {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
        "UnprocessableQueue": {"sqs:SendMessage"},
    },
    "InboxFunction": {
        "JobsTable": {"dynamodb:GetItem", "dynamodb:PutItem"},
        "UsageTable": {"dynamodb:UpdateItem", "dynamodb:Query"},
        "UpstreamsTable": {"dynamodb:GetItem"},
        "ClientsTable/index/by_client_id": {"dynamodb:Query"},
        "BatchesTable": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"},
        "BatchQueue": {"sqs:SendMessage"},
        "ImagesBucket/*/batches/*": {"s3:PutObject"},
        "InboxBucket": {"s3:ListBucket"},
        "InboxBucket/*": {"s3:GetObject"},
        "ImagesBucket/*/inbox/*": {"s3:GetObject", "s3:PutObject"},
        "ImagesBucket/_uploads/*": {"s3:GetObject"},
        "ImagesBucket/*/init.*": {"s3:PutObject", "s3:DeleteObject"},
        "JobsQueue": {"sqs:SendMessage"},
        "UnprocessableQueue": {"sqs:SendMessage"},
    },
    "NotificationsFunction": {
        "JobsTable/stream": {
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
        },
        "*": {"dynamodb:ListStreams"},
        "event-bus/${EventBusName}?detail-type=Image Job Ended": {"events:PutEvents"},
        "ImagesBucket/*/inbox/*": {"s3:GetObject", "s3:PutObject"},
        "UnprocessableQueue": {"sqs:SendMessage"},
        "WebhooksTable": {"dynamodb:GetItem"},
        "BatchesTable": {"dynamodb:UpdateItem", "dynamodb:Query"},
        "BatchQueue": {"sqs:SendMessage"},
        "DeliveriesQueue": {"sqs:SendMessage"},
        "StreamFailuresBucket": {"s3:ListBucket"},
        "StreamFailuresBucket/*": {"s3:PutObject"},
    },
    "ChangesFunction": {
        "JobsTable/stream": {
            "dynamodb:DescribeStream",
            "dynamodb:GetRecords",
            "dynamodb:GetShardIterator",
        },
        "*": {"dynamodb:ListStreams"},
        "UsageTable": {"dynamodb:PutItem", "dynamodb:UpdateItem"},
        "JobsQueue": {"sqs:SendMessage"},
        "UnprocessableQueue": {"sqs:SendMessage"},
        "StreamFailuresBucket": {"s3:ListBucket"},
        "StreamFailuresBucket/*": {"s3:PutObject"},
    },
    "BatchesFunction": {
        "BatchesTable": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"},
        "UsageTable": {"dynamodb:UpdateItem"},
        "ImagesBucket/_uploads/*": {"s3:GetObject"},
        "ImagesBucket/*/batches/*": {"s3:GetObject", "s3:PutObject"},
        "BatchQueue": {"sqs:SendMessage"},
    },
    "BatchLinesFunction": {
        "JobsTable": {"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:PutItem"},
        "UsageTable": {"dynamodb:UpdateItem", "dynamodb:Query"},
        "UpstreamsTable": {"dynamodb:GetItem"},
        "BatchesTable": {
            "dynamodb:GetItem",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:Query",
        },
        "ImagesBucket/*/batches/*": {"s3:GetObject", "s3:PutObject"},
        "ImagesBucket/*/inbox/*": {"s3:GetObject", "s3:PutObject"},
        "ImagesBucket/_uploads/*": {"s3:GetObject"},
        "ImagesBucket/*/init.*": {"s3:PutObject", "s3:DeleteObject"},
        "BatchJobsQueue": {"sqs:SendMessage"},
        "BatchQueue": {
            "sqs:ReceiveMessage",
            "sqs:SendMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
        },
        "event-bus/${EventBusName}?detail-type=Image Batch Ended": {"events:PutEvents"},
        "UnprocessableQueue": {"sqs:SendMessage"},
    },
    "WebhooksFunction": {
        "WebhooksTable": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query"},
        "DeliveriesQueue": {"sqs:SendMessage"},
        "MasterSecret": {"secretsmanager:GetSecretValue"},
    },
    "DeliveriesFunction": {
        "WebhooksTable": {"dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem"},
        "JobsTable": {"dynamodb:GetItem"},
        "ImagesBucket/*": {"s3:GetObject"},
        "DeliveriesQueue": {
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:GetQueueAttributes",
            "sqs:ChangeMessageVisibility",
        },
        "event-bus/${EventBusName}?detail-type=Webhook Disabled": {"events:PutEvents"},
        "UnprocessableQueue": {"sqs:SendMessage"},
        "MasterSecret": {"secretsmanager:GetSecretValue"},
    },
}
"""Without Bedrock and without a KMS key, with a secret: the stack of the e2e tests."""


def may(function: str, action: str, resource: str) -> bool:
    """Return whether the table allows a function an action on one resource."""
    grants = LOGS | GRANTS[function]
    return any(action in grants[name] for name in grants if fnmatchcase(resource, name))
