"""A deployed stack: in the embedded AWS of `make run`, or on AWS itself."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config

from sd3.adapters.dynamodb.token_admin import TokenStore

RUNNING_STACK: Final = Path(__file__).resolve().parents[1] / ".local/env"
"""The file in which `make run` writes how to reach its stack, as lines of KEY=VALUE."""

STACK_NAME: Final = "sd3"
"""Name of the stack in the embedded AWS."""


class StackError(Exception):
    """The stack cannot be started or has failed; the message names what to look at."""


class DeployedStack:
    """One deployed stack, by the names of its template."""

    def __init__(
        self, session: boto3.Session, stack: str, *, endpoint_url: str | None = None
    ) -> None:
        self._session = session
        self._stack = stack
        self._endpoint_url = endpoint_url

    def client(self, service: Any) -> Any:
        """Create a boto3 client for the stack's account."""
        local = Config(proxies={}, retries={"total_max_attempts": 1})
        return self._session.client(
            service,
            endpoint_url=self._endpoint_url,
            config=local if self._endpoint_url else None,
        )

    def outputs(self) -> dict[str, str]:
        """Return the stack's outputs by their names."""
        return {each["OutputKey"]: each["OutputValue"] for each in self._describe()["Outputs"]}

    def parameters(self) -> dict[str, str]:
        """Return the values of the stack's parameters by their names."""
        parameters = self._describe().get("Parameters", [])
        return {each["ParameterKey"]: each["ParameterValue"] for each in parameters}

    def _describe(self) -> Any:
        [stack] = self.client("cloudformation").describe_stacks(StackName=self._stack)["Stacks"]
        return stack

    def api_url(self) -> str:
        """Return the base URL of the API.

        MiniStack serves an API at a path with the API's id, not at AWS's hosts.
        """
        outputs = self.outputs()
        endpoint = self._endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
        if not endpoint:
            return outputs["ApiUrl"]
        stage = urlsplit(outputs["ApiUrl"]).path
        return f"{endpoint}/_aws/execute-api/{outputs['ApiId']}{stage}"

    def resource(self, logical_id: str) -> str:
        """Return the physical name of a resource of the template."""
        response = self.client("cloudformation").describe_stack_resource(
            StackName=self._stack, LogicalResourceId=logical_id
        )
        return str(response["StackResourceDetail"]["PhysicalResourceId"])

    def tokens(self) -> TokenStore:
        """Return the store of the clients' tokens."""
        return TokenStore(self.client("dynamodb"), self.outputs()["ClientsTable"])

    def issue_token(self, client_id: str) -> str:
        """Issue a token with all scopes; raises ValueError for a client_id that is no slug."""
        return self.tokens().issue(client_id)


def embedded(values: Mapping[str, str]) -> DeployedStack:
    """Return the stack of the embedded AWS that `values` (the lines of .local/env) describe.

    AWS settings, files and proxies of this machine are ignored.
    """
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    return DeployedStack(
        boto3.Session(
            aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
            region_name=values["AWS_DEFAULT_REGION"],
            botocore_session=session,
        ),
        STACK_NAME,
        endpoint_url=values["AWS_ENDPOINT_URL"],
    )


def find_stack(stack: str | None, *, env: Path = RUNNING_STACK) -> DeployedStack:
    """Return the stack of that name in the user's AWS account; without a name, the embedded one.

    Raises StackError when the embedded one is not running.
    """
    if stack:
        return DeployedStack(boto3.Session(), stack)
    try:
        return embedded(read_env(env))
    except FileNotFoundError:
        raise StackError("no stack is running here: start `make run`, or set STACK=name") from None


def read_env(path: Path) -> dict[str, str]:
    """Read a file of KEY=VALUE lines; raises FileNotFoundError when it does not exist."""
    pairs = (line.partition("=") for line in path.read_text().splitlines())
    return {name: value for name, _, value in pairs}
