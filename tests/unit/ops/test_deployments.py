"""What make deploy would deploy, and what it refuses to before it asks AWS anything."""

import os
import subprocess
from pathlib import Path

import pytest

from ops.deployments import ROOT, Deployment, SettingsError, faults, pairs, read_deployment

SAM = ROOT / ".tools/sam/bin/sam"
MINIMAL = "Resources: {Topic: {Type: AWS::SNS::Topic}}"
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:sd3-AbCdEf"
GOOD = f"UpstreamUrl=https://images.internal UpstreamSecretArn={SECRET}"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "samconfig.toml"
    path.write_text(
        """
        [dev.global.parameters]
        stack_name = "dev"
        region = "eu-west-1"
        profile = "work"
        [dev.deploy.parameters]
        tags = "team=images 'note=two words'"
        parameter_overrides = ["WorkerConcurrency=5", 'UpstreamSecretArn=""']
        s3_bucket = "artifacts"
        [strange.deploy.parameters]
        signing_profiles = "x"
        """
    )
    return path


def test_a_section_is_read_over_the_defaults_of_the_template(config: Path) -> None:
    deployment = read_deployment("dev", changed="CanaryMinutes=5", config=config)
    assert (deployment.stack, deployment.region, deployment.profile) == ("dev", "eu-west-1", "work")
    assert deployment.bucket == "artifacts"
    assert deployment.tags == {"team": "images", "note": "two words"}
    values = deployment.parameters()
    assert (values["WorkerConcurrency"], values["CanaryMinutes"]) == ("5", "5")
    assert (values["UpstreamSecretArn"], values["MaxQueueHours"]) == ("", "6")


@pytest.mark.parametrize(
    ("section", "said"),
    [("prod", "no section 'prod', only dev, strange"), ("strange", "signing_profiles")],
)
def test_settings_that_would_be_passed_over_are_refused(
    config: Path, section: str, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        read_deployment(section, config=config)


@pytest.mark.parametrize("text", ["WorkerConcurrency", "ParameterKey=A,ParameterValue=b"])
def test_a_parameter_without_a_value_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="NAME=VALUE"):
        pairs([text])


@pytest.mark.parametrize("section", ["default", "staging", "prod"])
def test_sam_takes_every_section_as_it_is(section: str, tmp_path: Path) -> None:
    """It gets as far as AWS, where nobody listens."""
    template = tmp_path / "template.yaml"
    template.write_text(MINIMAL)
    command: list[str | Path] = [
        SAM,
        "deploy",
        "--config-file",
        ROOT / "samconfig.toml",
        "--config-env",
        section,
    ]
    dead = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "SAM_CLI_TELEMETRY": "0",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }
    done = subprocess.run(  # noqa: S603 - the locked SAM
        [*command, "-t", template], env=dead, capture_output=True, text=True, check=False
    )
    assert "Could not connect to the endpoint URL" in done.stderr


@pytest.mark.parametrize("section", ["default", "staging", "prod"])
def test_the_sections_as_shipped_ask_for_an_upstream_of_your_own(section: str) -> None:
    found = list(faults(read_deployment(section)))
    assert any("still https://sd3.example.com" in fault for fault in found)
    assert not list(faults(read_deployment(section, changed=GOOD)))


def deployment(changed: str, stack: str = "sd3") -> Deployment:
    shipped = read_deployment("prod")
    return Deployment(
        stack=stack, given=pairs(f"{GOOD} {changed}"), declared=shipped.declared, tags={}
    )


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("WorkerConcurency=5", "WorkerConcurency is no parameter"),
        ("WorkerConcurrency=1", "WorkerConcurrency cannot be '1'"),
        ("WorkerConcurrency=many", "WorkerConcurrency cannot be 'many'"),
        ("CanaryMinutes=7", "CanaryMinutes cannot be '7'"),
        ("AllowedOrigins=app.example.com", "Origins without a path"),
        (f"OpenaiModel={'x' * 129}", "OpenaiModel cannot be"),
        ("UpstreamUrl=", "octoai needs its base URL"),
        ("Upstream=stability,openai", "openai needs its base URL"),
        ("UpstreamUrl=https://api.example.org/v1", "still https://api.example.org/v1"),
        ("UpstreamUrl=http://images.internal SubnetIds=subnet-1", "neither https nor http"),
        ("UpstreamUrl=http://10.0.0.5:30000", "set SubnetIds"),
        ("UpstreamSecretArn=", "no key for octoai"),
    ],
)
def test_what_cannot_work_is_said_with_what_to_do(changed: str, said: str) -> None:
    [fault] = faults(deployment(changed))
    assert said in fault


@pytest.mark.parametrize("stack", ["", "1sd3", "sd3_prod", "x" * 129])
def test_a_name_that_no_stack_can_have_is_refused(stack: str) -> None:
    [fault] = faults(deployment("", stack))
    assert "name" in fault


@pytest.mark.parametrize("stack", ["Sd3-Prod", "x" * 128])
def test_every_name_that_a_stack_can_have_is_deployed(stack: str) -> None:
    assert not list(faults(deployment("", stack)))
