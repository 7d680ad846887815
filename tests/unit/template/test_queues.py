"""What must hold for the queues and streams of template.yaml, and for what reads them."""

from collections.abc import Iterator
from typing import Any

from tests.support.factories.monitoring import watched_resources
from tests.support.factories.template import Resources, of_type, references, source, translated


def mappings(resources: Resources, kind: str) -> Resources:
    """Return the event sources that read a resource of `kind`."""
    return {
        name: mapping
        for name, mapping in of_type(resources, "AWS::Lambda::EventSourceMapping").items()
        if resources[source_of(mapping)]["Type"] == kind
    }


def source_of(mapping: dict[str, Any]) -> str:
    [name] = {*references(mapping["Properties"]["EventSourceArn"])}
    return name


def queue_faults(resources: Resources) -> Iterator[str]:
    """Event sources that would redeliver a batch for one bad message, or too early."""
    for name, mapping in mappings(resources, "AWS::SQS::Queue").items():
        properties = mapping["Properties"]
        if properties.get("FunctionResponseTypes") != ["ReportBatchItemFailures"]:
            yield f"{name}: no ReportBatchItemFailures"
        [function] = {*references(properties["FunctionName"])}
        visible_after = resources[source_of(mapping)]["Properties"].get("VisibilityTimeout", 30)
        if visible_after < 6 * resources[function]["Properties"].get("Timeout", 3):
            yield f"{name}: visibility below 6 x timeout"


DAY_SECONDS = 24 * 60 * 60
"""How long a stream of DynamoDB has its records."""

REPEATED_WHOLE = {"ChangesStream"}
"""Its function records each write once, however often it gets it, and reports no single records."""


def stream_faults(resources: Resources) -> Iterator[str]:
    """Event sources where one bad record would block or lose others, or be lost itself."""
    for name, mapping in mappings(resources, "AWS::DynamoDB::Table").items():
        properties = mapping["Properties"]
        reports = properties.get("FunctionResponseTypes") == ["ReportBatchItemFailures"]
        if not reports and name not in REPEATED_WHOLE:
            yield f"{name}: no ReportBatchItemFailures"
        if not properties.get("BisectBatchOnFunctionError"):
            yield f"{name}: one bad record holds up its whole batch"
        if not 0 < properties.get("MaximumRecordAgeInSeconds", -1) < DAY_SECONDS:
            yield f"{name}: a record expires in the stream before it is given up"
        kept_in = [*references(properties.get("DestinationConfig", {}))]
        if [resources[one]["Type"] for one in kept_in] != ["AWS::S3::Bucket"]:
            yield f"{name}: a record that is given up is kept nowhere; a queue gets only its number"
        if properties["StartingPosition"] != "TRIM_HORIZON":
            yield f"{name}: what was written while it was made is lost"


def test_streams_hold_nothing_up_and_lose_nothing() -> None:
    assert mappings(translated(), "AWS::DynamoDB::Table")
    assert list(stream_faults(translated())) == []


def test_a_careless_stream_would_be_found() -> None:
    properties = {"EventSourceArn": {"Fn::GetAtt": ["Table", "Arn"]}, "StartingPosition": "LATEST"}
    mapping = {"Type": "AWS::Lambda::EventSourceMapping", "Properties": properties}
    table = {"Type": "AWS::DynamoDB::Table"}
    assert len(list(stream_faults({"M": mapping, "Table": table}))) == 5


def test_queues_wait_long_enough_and_report_single_failures() -> None:
    assert mappings(translated(), "AWS::SQS::Queue")
    assert list(queue_faults(translated())) == []


def test_a_queue_has_a_reader_or_an_alarm() -> None:
    queues = of_type(source()["Resources"], "AWS::SQS::Queue")
    read = {source_of(mapping) for mapping in mappings(translated(), "AWS::SQS::Queue").values()}
    watched = set(watched_resources())
    assert set(queues) <= read | watched
    for name, queue in queues.items():
        given_up_to = {*references(queue["Properties"].get("RedrivePolicy", {}))}
        assert given_up_to <= watched, name


def test_queues_and_buckets_are_spoken_to_over_tls_only() -> None:
    rejected = set()
    for policy in source()["Resources"].values():
        document = str(policy.get("Properties", {}).get("PolicyDocument"))
        if "aws:SecureTransport" in document and "'Deny'" in document:
            properties = policy["Properties"]
            rejected |= {*references(properties.get("Queues", properties.get("Bucket")))}
    stored = {
        name
        for kind in ("AWS::SQS::Queue", "AWS::S3::Bucket")
        for name in of_type(source()["Resources"], kind)
    }
    assert rejected == stored


def test_buckets_refuse_tls_before_1_2() -> None:
    policies = of_type(source()["Resources"], "AWS::S3::BucketPolicy").values()
    assert len(policies) == 3
    for policy in policies:
        statements = policy["Properties"]["PolicyDocument"]["Statement"]
        [old] = (
            s for s in statements if s["Condition"] == {"NumericLessThan": {"s3:TlsVersion": "1.2"}}
        )
        [plain] = (s for s in statements if s is not old)
        for key in ("Effect", "Principal", "Action", "Resource"):
            assert old[key] == plain[key]


def test_only_queues_that_another_gives_up_to_take_what_others_give_up() -> None:
    """Each is referred to by such a queue, so it cannot name that as the only one."""
    queues = of_type(source()["Resources"], "AWS::SQS::Queue")
    takes = {
        name
        for name, queue in queues.items()
        if queue["Properties"].get("RedriveAllowPolicy") != {"redrivePermission": "denyAll"}
    }
    gives = [queue["Properties"].get("RedrivePolicy", {}) for queue in queues.values()]
    assert takes == set(references(gives)) == {"DeadLettersQueue", "UnprocessableQueue"}


def test_a_hasty_queue_would_be_found() -> None:
    mapping = {
        "Type": "AWS::Lambda::EventSourceMapping",
        "Properties": {
            "EventSourceArn": {"Fn::GetAtt": ["Queue", "Arn"]},
            "FunctionName": {"Ref": "Worker"},
        },
    }
    queue = {"Type": "AWS::SQS::Queue", "Properties": {"VisibilityTimeout": 599}}
    worker = {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 100}}
    assert len(list(queue_faults({"M": mapping, "Queue": queue, "Worker": worker}))) == 2
