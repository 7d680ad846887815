"""python -m ops.preflight: whether a deployment can work, before anything is made."""

import argparse
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ops.accounts import CHECKS, Account
from ops.deployments import Deployment, SettingsError, faults, read_deployment

_DENIED: Final = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"})


class Finding(NamedTuple):
    """What is missing or could not be looked at, on one line, with what to do."""

    text: str
    fatal: bool = True


def main(arguments: list[str]) -> int:
    """Print what is missing, and return 1 if the deployment would fail."""
    parser = argparse.ArgumentParser(prog="make preflight", description=__doc__)
    parser.add_argument("--settings", default="default", help="a section of samconfig.toml")
    parser.add_argument("--set", default="", metavar="NAME=VALUE ...", help="parameters")
    options = parser.parse_args(arguments)
    try:
        return 0 if passes(read_deployment(options.settings, changed=options.set)) else 1
    except SettingsError as error:
        print(f"not deployable: {error}", file=sys.stderr)
        return 1


def passes(deployment: Deployment) -> bool:
    """Print all findings; return whether none of them is fatal."""
    found = list(findings(deployment))
    for finding in found:
        print(f"{'missing' if finding.fatal else 'not known'}: {finding.text}", file=sys.stderr)
    if any(finding.fatal for finding in found):
        return False
    print(f"nothing is missing for {deployment.stack} in {deployment.session().region_name}")
    return True


def findings(deployment: Deployment, client: Callable[..., Any] | None = None) -> Iterator[Finding]:
    """Yield everything that stands in the way of a deployment."""
    yield from map(Finding, faults(deployment))
    session = deployment.session()
    if not session.region_name:
        yield Finding("no region: set region in samconfig.toml, or AWS_DEFAULT_REGION")
        return
    account = Account(deployment, client or session.client, session.region_name)
    try:
        account.client("sts").get_caller_identity()
    except (BotoCoreError, ClientError) as error:
        yield Finding(f"AWS does not take your credentials: {error}")
        return
    for subject, check in CHECKS.items():
        try:
            yield from map(Finding, check(account))
        except ClientError as error:
            code = error.response["Error"]["Code"]
            why = "you may not read it" if code in _DENIED else str(error)
            yield Finding(f"{subject}: {why}", fatal=False)
        except BotoCoreError as error:
            yield Finding(f"{subject}: {error}", fatal=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
