"""make deploy: what is sent to CloudFormation, and what is not run."""

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest

from ops import change_sets, deploy
from ops.deployments import Deployment
from ops.stacks import StackError

URL: Final = "https://s3.eu-west-1.amazonaws.com/artifacts"
MONITORING: Final = "arn:aws:cloudformation:eu-west-1:1:stack/sd3-Monitoring/1"
RUNNING: Final = {
    "StackName": "sd3",
    "StackStatus": "UPDATE_COMPLETE",
    "Parameters": [{"ParameterKey": "Upstream", "ParameterValue": "octoai"}],
    "Outputs": [{"OutputKey": "ApiUrl", "OutputValue": "https://api"}],
}
ALARMS: Final = {"Outputs": [{"OutputKey": name, "OutputValue": name} for name in deploy.ALARMS]}
NOTHING_LOST: Final = {"Action": "Modify", "ResourceType": "AWS::Lambda::Function"}
LOST: Final = {"Action": "Remove", "ResourceType": "AWS::S3::Bucket"}


class FakeAws:
    """A session whose CloudFormation, S3 and CloudWatch remember what they were told."""

    region_name = "eu-west-1"

    def __init__(self, change: dict[str, str] = NOTHING_LOST) -> None:
        self.change = change | {"LogicalResourceId": "It"}
        self.stacks: dict[str, Any] = {"sd3": RUNNING, MONITORING: ALARMS}
        self.sent: dict[str, Any] = {}
        self.calls: list[str] = []

    def client(self, _service: str) -> "FakeAws":
        return self

    def describe_stacks(self, *, StackName: str) -> Any:  # noqa: N803 - AWS's own names
        return {"Stacks": [self.stacks[StackName]]}

    def describe_stack_resource(self, **_asked: str) -> Any:
        return {"StackResourceDetail": {"PhysicalResourceId": MONITORING}}

    def describe_alarms(self, *, AlarmNames: list[str]) -> Any:  # noqa: N803
        return {"MetricAlarms": [{"AlarmArn": f"arn:{name}"} for name in AlarmNames]}

    def put_object(self, **sent: Any) -> None:
        self.calls.append(f"put {sent['Bucket']}/{sent['Key'][-9:]}")

    def create_change_set(self, **sent: Any) -> Any:
        self.sent = sent
        return {"Id": "arn"}

    def describe_change_set(self, **_asked: str) -> Any:
        changes = [{"ResourceChange": self.change}]
        return {
            "Status": "CREATE_COMPLETE",
            "StackId": "sd3",
            "CreationTime": 0,
            "Changes": changes,
        }

    def execute_change_set(self, **_asked: str) -> None:
        self.calls.append("executed")

    def delete_change_set(self, **_asked: str) -> None:
        self.calls.append("deleted")


@pytest.fixture
def template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a built template, and a SAM that packages it."""
    sam = tmp_path / "sam"
    sam.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho "TemplateURL: {URL}/n" > "$5"\n')
    sam.chmod(stat.S_IRWXU)
    monkeypatch.setattr(deploy, "_SAM", sam)
    monkeypatch.setattr(change_sets, "_POLL_SECONDS", 0)
    (tmp_path / "build").mkdir()
    return tmp_path / "build/template.yaml"


def run(aws: FakeAws, template: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> bool:
    """Deploy with the fake AWS."""
    monkeypatch.setattr(Deployment, "session", lambda _self: aws)
    declared = {"Upstream": {"Default": "octoai"}, "OpenaiModel": {"Default": ""}}
    options: dict[str, Any] = {
        "bucket": "",
        "role": "",
        "replaceable": [],
        "monitor_minutes": 0,
        "left": {},
        "ask": False,
    } | changed
    return deploy.deploy(
        Deployment(
            stack="sd3", given={"Upstream": "stability"}, declared=declared, tags={"a": "b"}
        ),
        template=template,
        **options,
    )


def test_a_change_that_loses_nothing_is_run(
    template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws = FakeAws()
    assert run(aws, template, monkeypatch)
    assert aws.calls == ["put artifacts/.template", "executed"]
    assert aws.sent["TemplateURL"].startswith(f"{URL}/")
    assert aws.sent["ChangeSetType"] == "UPDATE"
    assert aws.sent["Tags"] == [{"Key": "a", "Value": "b"}]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "Upstream: 'octoai' becomes 'stability'"
    assert said[-1] == "ApiUrl: https://api"


def test_every_parameter_is_sent_with_its_value(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is taken out of samconfig.toml takes the parameter back to its default."""
    aws = FakeAws()
    run(aws, template, monkeypatch)
    sent = {each["ParameterKey"]: each["ParameterValue"] for each in aws.sent["Parameters"]}
    assert sent == {"Upstream": "stability", "OpenaiModel": ""}


def test_a_change_that_loses_something_is_not_run_unless_it_is_meant(
    template: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    aws = FakeAws(LOST)
    assert not run(aws, template, monkeypatch)
    assert aws.calls[1:] == ["deleted"]
    assert "refused, since clients would lose it: Remove It" in capsys.readouterr().err
    assert run(aws, template, monkeypatch, replaceable=["It"])


@pytest.mark.parametrize(("answer", "call"), [("y", "executed"), ("", "deleted")])
def test_at_a_terminal_nothing_is_run_without_a_yes(
    template: Path, monkeypatch: pytest.MonkeyPatch, answer: str, call: str
) -> None:
    aws = FakeAws()
    monkeypatch.setattr("builtins.input", lambda _prompt: answer)
    assert run(aws, template, monkeypatch, ask=True) == (call == "executed")
    assert aws.calls[1:] == [call]


def test_alarms_of_the_running_stack_take_an_update_back(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws()
    run(aws, template, monkeypatch, monitor_minutes=10)
    watched = [{"Arn": f"arn:{name}", "Type": "AWS::CloudWatch::Alarm"} for name in deploy.ALARMS]
    assert aws.sent["RollbackConfiguration"] == {
        "RollbackTriggers": watched,
        "MonitoringTimeInMinutes": 10,
    }


def test_alarms_of_the_update_before_do_not_go_on(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws()
    run(aws, template, monkeypatch)
    assert aws.sent["RollbackConfiguration"]["RollbackTriggers"] == []


def test_an_update_without_the_alarms_that_were_asked_for_is_none(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws()
    aws.stacks[MONITORING] = {}
    with pytest.raises(StackError, match="no alarms to watch"):
        run(aws, template, monkeypatch, monitor_minutes=10)


def test_a_new_stack_has_no_alarms_yet(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    aws = FakeAws()
    states = iter([RUNNING | {"StackStatus": "REVIEW_IN_PROGRESS"}])
    created = RUNNING | {"StackStatus": "CREATE_COMPLETE"}
    monkeypatch.setattr(
        aws, "describe_stacks", lambda **_asked: {"Stacks": [next(states, created)]}
    )
    assert run(aws, template, monkeypatch, monitor_minutes=10)
    assert aws.sent["ChangeSetType"] == "CREATE"
    assert "RollbackConfiguration" not in aws.sent


def test_a_stack_that_is_there_adopts_nothing(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(StackError, match="only a new one can adopt"):
        run(FakeAws(), template, monkeypatch, left={"JobsTable": "x"})


@pytest.mark.parametrize(
    ("changed", "asked"), [({}, "--resolve-s3"), ({"bucket": "ours"}, "--s3-bucket ours")]
)
def test_what_is_built_goes_to_the_bucket_that_is_named(
    template: Path, monkeypatch: pytest.MonkeyPatch, changed: Any, asked: str
) -> None:
    run(FakeAws(), template, monkeypatch, **changed)
    line = (template.parents[1] / "asked").read_text()
    assert asked in line
    assert "--region eu-west-1" in line


def test_cloudformation_takes_on_the_role_that_is_named(
    template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aws = FakeAws()
    run(aws, template, monkeypatch, role="arn:role")
    assert aws.sent["RoleARN"] == "arn:role"


def test_a_package_that_fails_says_why(template: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (template.parents[1] / "sam").write_text("#!/bin/sh\necho no such bucket >&2\nexit 1\n")
    with pytest.raises(StackError, match="no such bucket"):
        run(FakeAws(), template, monkeypatch)


def test_nothing_is_packaged_when_the_account_lacks_something(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shipped = SimpleNamespace(stack="sd3", bucket="", role="")
    monkeypatch.setattr(deploy, "read_deployment", lambda *_, **__: shipped)
    monkeypatch.setattr(deploy, "passes", lambda _deployment: False)
    monkeypatch.setattr(deploy, "deploy", lambda *_, **__: pytest.fail("deployed"))
    assert deploy.main([]) == 1
