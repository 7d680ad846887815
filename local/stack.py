"""Starts the whole service on this machine, and ends it."""

import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import requests

from local import sam
from local.environment import LOOPBACK, REGION, ROOT, bare, free_port
from local.processes import Child, locked
from local.upstream import Chosen, choose
from ops.stacks import DeployedStack, embedded

_READY_SECONDS = 60.0
_LISTENING = "listening on "


@dataclass(frozen=True, kw_only=True)
class Stack:
    """The running service: its address, and the stack and processes that it runs on."""

    api_url: str
    aws: dict[str, str]
    """AWS_* variables of the embedded AWS, for its root user."""
    deployed: DeployedStack
    upstream_url: str
    """The model server's address; empty if it was not started."""
    children: tuple[Child, ...]

    def check(self) -> None:
        """Raise StackError when a process has ended."""
        for child in self.children:
            child.check()


@contextmanager
def running(
    state: Path,
    *,
    edge_port: int,
    model_port: int,
    report: Callable[[str], None],
    upstream: Chosen | None = None,
    parameters: Mapping[str, str] | None = None,
    c2pa: str = "",
) -> Iterator[Stack]:
    """Start everything, with logs in `state`; leaving the `with` block ends it all.

    `report` is told each step when it begins. Without an `upstream` the model server generates. It
    is started only if an upstream asks it. `parameters` are added to the template's, and `c2pa` is
    the secret of C2paSecretArn. A port that is taken, or 0, is replaced by a free one. Raises
    StackError.
    """
    state.mkdir(parents=True, exist_ok=True)
    port = free_port(edge_port)
    aws = _aws(port)
    chosen = upstream or choose("")
    model_token = secrets.token_urlsafe()
    with ExitStack() as cleanup:
        report("embedded AWS" + (" and model server" if chosen.asks_model_server else ""))
        scratch = cleanup.enter_context(
            TemporaryDirectory(prefix="tmp-", dir=state, ignore_cleanup_errors=True)
        )
        edge = cleanup.enter_context(_embedded_aws(state, port, aws=aws, scratch=scratch))
        models = [
            cleanup.enter_context(_model_server(state, model_port, token=model_token))
            for _ in range(chosen.asks_model_server)
        ]
        edge.wait_until(lambda: _is_ready(f"{_url(port)}/_ministack/ready"), seconds=_READY_SECONDS)
        upstream_url = "".join(map(_address, models))
        deployed = embedded(aws)
        values = chosen.parameters(upstream_url) | {"ClientUrls": "loopback"}
        values["UpstreamSecretArn"] = _secret(deployed, "upstream", chosen.secret(model_token))
        if c2pa:
            values["C2paSecretArn"] = _secret(deployed, "c2pa", c2pa)
        values |= parameters or {}
        _deploy(state, deployed, aws=aws, parameters=values, report=report)
        yield Stack(
            api_url=deployed.api_url(),
            aws=aws,
            deployed=deployed,
            upstream_url=upstream_url,
            children=(edge, *models),
        )


def _secret(deployed: DeployedStack, name: str, text: str) -> str:
    """Store a secret; return its ARN."""
    secret = deployed.client("secretsmanager").create_secret(Name=name, SecretString=text)
    return str(secret["ARN"])


def _deploy(
    state: Path,
    deployed: DeployedStack,
    *,
    aws: dict[str, str],
    parameters: dict[str, str],
    report: Callable[[str], None],
) -> None:
    deployed.client("s3").create_bucket(Bucket=sam.ARTIFACTS_BUCKET)
    # `make run` and the tests share one build, which must not change while it is deployed.
    shared = ROOT / ".local"
    shared.mkdir(exist_ok=True)
    with locked(shared / "build.lock", wait=True):
        template = sam.build(shared, report, with_c2pa="C2paSecretArn" in parameters)
        report("deployment of template.yaml")
        sam.deploy(template, aws=aws, parameters=parameters, log=state / "sam-deploy.log")


def _embedded_aws(state: Path, port: int, *, aws: dict[str, str], scratch: str) -> Child:
    settings = {
        "BIND_HOST": LOOPBACK,
        "GATEWAY_PORT": str(port),
        "AUTH": "true",
        "TMPDIR": scratch,
        # It must not listen on every interface (MQTT, SFTP), and must not use containers.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": "unix:///nonexistent",
        "AWS_ACCESS_KEY_ID": aws["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": aws["AWS_SECRET_ACCESS_KEY"],
    }
    command: list[str | Path] = [sam.MINISTACK_PYTHON, "-m", "local.embedded"]
    return Child("MiniStack", command, env=bare(os.environ) | settings, log=state / "ministack.log")


def _model_server(state: Path, port: int, *, token: str) -> Child:
    address = ("--host", LOOPBACK, "--port", str(free_port(port)))
    env = bare(os.environ) | {"MODEL_SERVER_TOKEN": token, "PYTHONUNBUFFERED": "1"}
    python = ROOT / ".venv/bin/python"
    command = (python, "-m", "model_server", *address)
    return Child("the model server", command, env=env, log=state / "model-server.log")


def _address(model: Child) -> str:
    """Wait until the model server listens, and read its address in its log."""
    model.wait_until(lambda: _LISTENING in model.log.read_text(), seconds=_READY_SECONDS)
    return model.log.read_text().partition(_LISTENING)[2].split()[0]


def _aws(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": _url(port),
        "AWS_ACCESS_KEY_ID": "sd3-local",
        "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _url(port: int) -> str:
    return f"http://{LOOPBACK}:{port}"


def _is_ready(url: str) -> bool:
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=2).ok
        except requests.RequestException:
            return False
