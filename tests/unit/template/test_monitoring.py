"""The alarms of monitoring.yaml watch what they should, and somebody hears of them."""

from tests.support.factories.monitoring import alarms, given, watched_resources
from tests.support.factories.template import of_type, references, resolved, source, translated


def test_template_yaml_gives_every_parameter() -> None:
    assert set(given()) == set(source("monitoring.yaml")["Parameters"])


def test_every_parameter_is_used() -> None:
    template = source("monitoring.yaml")
    assert set(references([template["Conditions"], template["Resources"]])) >= set(given())


def test_alarms_watch_these_functions_and_queues() -> None:
    assert set(watched_resources()) == {
        "AWS::StackName",
        "GenerateFunction",
        "WorkerFunction",
        "NotificationsFunction",
        "ChangesFunction",
        "DeadLettersQueue",
        "UnprocessableQueue",
    }


def test_a_function_or_queue_is_given_by_its_name() -> None:
    """Metrics have names as dimensions: Ref is the name of a function, but the URL of a queue."""
    for kind, reference in (
        ("AWS::Lambda::Function", lambda name: {"Ref": name}),
        ("AWS::SQS::Queue", lambda name: {"Fn::GetAtt": [name, "QueueName"]}),
    ):
        for name in set(of_type(translated(), kind)) & set(given()):
            assert given()[name] == reference(name)


def test_an_alarm_goes_to_the_topic_if_there_is_one() -> None:
    assert alarms()
    for alarm in alarms().values():
        properties = alarm["Properties"]
        actions = resolved(properties, {"HasAlarmTopic"})["AlarmActions"]
        assert actions == [{"Ref": "AlarmTopicArn"}]
        assert "AlarmActions" not in resolved(properties, set())


def test_an_alarm_is_quiet_while_nothing_happens() -> None:
    for alarm in alarms().values():
        assert alarm["Properties"]["TreatMissingData"] == "notBreaching"
        assert alarm["Properties"]["AlarmDescription"]
