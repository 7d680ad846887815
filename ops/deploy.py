"""python -m ops.deploy: deploy what is built, unless clients would lose their data or address."""

import argparse
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from ops.accounts import described_stack
from ops.adoption import adopt
from ops.change_sets import Change, create, execute, read_changes, refused
from ops.deployments import ROOT, Deployment, SettingsError, pairs, read_deployment
from ops.preflight import passes
from ops.stacks import StackError

ALARMS: Final = ("GenerateErrorsAlarm", "ApiErrorsAlarm")
"""Outputs of the nested stack Monitoring, with the names of alarms."""

_SAM: Final = ROOT / ".tools/sam/bin/sam"
_NESTED: Final = re.compile(r"TemplateURL: (\S+)")


def main(arguments: list[str]) -> int:
    """Deploy, and return 0 if the stack then is as the template says."""
    parser = argparse.ArgumentParser(prog="make deploy", description=__doc__)
    parser.add_argument("--settings", default="default", help="a section of samconfig.toml")
    parser.add_argument("--set", default="", metavar="NAME=VALUE ...", help="parameters")
    parser.add_argument("--replace", default="", help="logical ids that may be lost, with commas")
    parser.add_argument("--monitor", type=_minutes, default=0, help="minutes to watch alarms for")
    parser.add_argument("--adopt", default="", help="LogicalId=name ... of what a stack has left")
    parser.add_argument("--bucket", help="bucket for what is built")
    parser.add_argument("--role", help="ARN of the role that CloudFormation takes on")
    parser.add_argument("--yes", action="store_true", help="ask nothing, also at a terminal")
    parser.add_argument("--build", type=Path, default=ROOT / ".aws-sam/build")
    options = parser.parse_args(arguments)
    template = options.build / "template.yaml"
    try:
        deployment = read_deployment(options.settings, changed=options.set, template=template)
        done = passes(deployment) and deploy(
            deployment,
            template=template,
            bucket=options.bucket or deployment.bucket,
            role=options.role or deployment.role,
            replaceable=options.replace.split(","),
            monitor_minutes=options.monitor,
            left=pairs(options.adopt),
            ask=sys.stdin.isatty() and not options.yes,
        )
    except (SettingsError, StackError, BotoCoreError, ClientError) as error:
        print(f"not deployed: {error}", file=sys.stderr)
        return 1
    return 0 if done else 1


def deploy(
    deployment: Deployment,
    *,
    template: Path,
    bucket: str,
    role: str,
    replaceable: Collection[str],
    monitor_minutes: int,
    left: Mapping[str, str],
    ask: bool,
) -> bool:
    """Make a change set, show it and run it; return False if it is refused or not wanted.

    Raises StackError when CloudFormation fails, and botocore's errors.
    """
    session = deployment.session()
    cloudformation = session.client("cloudformation")
    stack = described_stack(cloudformation, deployment.stack)
    if stack and stack["StackStatus"] == "REVIEW_IN_PROGRESS":
        stack = None  # its change set was never run
    as_role = {"RoleARN": role} if role else {}
    if left:
        if stack:
            raise StackError(f"there is a stack {deployment.stack}: only a new one can adopt")
        adopt(deployment, cloudformation, template=template, left=left, **as_role)
    change_set = create(
        cloudformation,
        deployment.stack,
        kind="UPDATE" if stack or left else "CREATE",
        TemplateURL=package(deployment, session, template=template, bucket=bucket),
        Parameters=deployment.sent_parameters(),
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Tags=[{"Key": name, "Value": value} for name, value in deployment.tags.items()],
        **(triggers(session, deployment.stack, minutes=monitor_minutes) if stack else {}),
        **as_role,
    )
    if change_set is None:
        print(f"{deployment.stack} is as it should be")
        return True
    for line in changed_parameters(deployment, stack):
        print(line)
    if lost(cloudformation, change_set, replaceable) or (ask and not _agreed(deployment.stack)):
        cloudformation.delete_change_set(ChangeSetName=change_set)
        return False
    execute(cloudformation, change_set)
    done = described_stack(cloudformation, deployment.stack)
    for output in done["Outputs"] if done else ():
        print(f"{output['OutputKey']}: {output['OutputValue']}")
    return True


def lost(cloudformation: Any, change_set: str, replaceable: Collection[str]) -> list[Change]:
    """Print what a change set would do, and return what clients would lose by it."""
    changes = list(read_changes(cloudformation, change_set))
    changed = [change for change in changes if change.action != "Add"]
    for change in changed:
        print(change)
    print(f"{len(changes) - len(changed)} resources are added")
    losses = refused(changes, replaceable=replaceable)
    for loss in losses:
        print(f"refused, since clients would lose it: {loss}", file=sys.stderr)
    return losses


def package(deployment: Deployment, session: boto3.Session, *, template: Path, bucket: str) -> str:
    """Upload what is built, and the template that refers to it; return the template's URL.

    Raises StackError.
    """
    packaged = template.parent.parent / "packaged.yaml"
    place = ("--s3-bucket", bucket) if bucket else ("--resolve-s3",)
    profile = ("--profile", deployment.profile) if deployment.profile else ()
    command = [
        *(_SAM, "package", "--template-file", template, "--output-template-file", packaged),
        *("--region", session.region_name, "--no-progressbar", *place, *profile),
    ]
    environment = os.environ | {"SAM_CLI_TELEMETRY": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackError(f"sam package failed: {done.stderr.strip()}")
    body = packaged.read_bytes()
    nested = _NESTED.search(body.decode())
    if nested is None:
        raise StackError(f"{packaged} has no nested stack")
    # The template is too large to be sent along. It goes where SAM has put the nested stack's.
    folder, _, _ = nested[1].rpartition("/")
    key = f"{hashlib.sha256(body).hexdigest()}.template"
    session.client("s3").put_object(Bucket=urlsplit(folder).path.strip("/"), Key=key, Body=body)
    return f"{folder}/{key}"


def triggers(session: boto3.Session, stack: str, *, minutes: int) -> dict[str, Any]:
    """Return the settings by which CloudFormation takes an update back when an alarm rings.

    Raises StackError when the stack has no such alarms.
    """
    if not minutes:  # said in so many words, or the triggers of the update before would stay
        return {"RollbackConfiguration": {"RollbackTriggers": [], "MonitoringTimeInMinutes": 0}}
    cloudformation = session.client("cloudformation")
    monitoring = cloudformation.describe_stack_resource(
        StackName=stack, LogicalResourceId="Monitoring"
    )["StackResourceDetail"]["PhysicalResourceId"]
    found = described_stack(cloudformation, monitoring) or {}
    names = {each["OutputKey"]: each["OutputValue"] for each in found.get("Outputs", [])}
    watched = [names[output] for output in ALARMS if output in names]
    if not watched:
        raise StackError(f"the stack {stack} has no alarms to watch: leave out MONITOR")
    alarms = session.client("cloudwatch").describe_alarms(AlarmNames=watched)["MetricAlarms"]
    return {
        "RollbackConfiguration": {
            "RollbackTriggers": [
                {"Arn": alarm["AlarmArn"], "Type": "AWS::CloudWatch::Alarm"} for alarm in alarms
            ],
            "MonitoringTimeInMinutes": minutes,
        }
    }


def changed_parameters(deployment: Deployment, stack: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield the parameters whose values are others than the stack has."""
    had = {
        each["ParameterKey"]: each["ParameterValue"] for each in (stack or {}).get("Parameters", [])
    }
    for name, value in deployment.parameters().items():
        if name in had and had[name] != value:
            yield f"{name}: {had[name]!r} becomes {value!r}"


def _minutes(text: str) -> int:
    return int(text or "0")


def _agreed(stack: str) -> bool:
    return input(f"Deploy {stack}? [y/N] ").strip().lower() == "y"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
