"""The commands of docs/runbook/, as they are written there."""

import json
import re
import shlex
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final, NamedTuple

import botocore.session
from botocore import xform_name
from botocore.model import OperationModel, Shape

from local.environment import ROOT

PAGES: Final = ROOT / "docs/runbook"

_SECTION: Final = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
_BLOCK: Final = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
_RESOURCE: Final = re.compile(r"\$\(resource (\w+)\)")
_TAIL: Final = {"since": "SINCE", "filter-pattern": "filterPattern"}
"""Options of `aws logs tail`, which the CLI makes of calls of FilterLogEvents."""
_SERVICES: Final = {"s3api": "s3"}
"""Names that the CLI has for a service of botocore's."""


class Command(NamedTuple):
    """One line that an operator types."""

    page: str
    section: str
    line: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.line)


class AwsCall(NamedTuple):
    """What a command of the AWS CLI calls."""

    service: str
    operation: str
    parameters: dict[str, Any]


def commands() -> Iterator[Command]:
    """Yield every command, page by page."""
    for page in sorted(PAGES.glob("*.md")):
        for section, text in _SECTION.findall(page.read_text()):
            for block in _BLOCK.findall(text):
                yield from (Command(page.stem, section, line) for line in block.splitlines())


def named_resources(line: str) -> list[str]:
    """Return the resources of the template that a command names."""
    return _RESOURCE.findall(line)


def aws_call(words: list[str], resource: Callable[[str], str]) -> AwsCall:
    """Translate a command of the AWS CLI. Raises KeyError for one that the CLI does not know."""
    service, operation, *rest = (
        _RESOURCE.sub(lambda found: resource(found[1]), word) for word in words[1:]
    )
    if (service, operation) == ("logs", "tail"):
        group, *options = rest
        named = {_TAIL[name]: value for name, value in _options(options)}
        named.pop("SINCE")
        return AwsCall("logs", "filter_log_events", {"logGroupName": group, **named})
    service = _SERVICES.get(service, service)
    model = _operation(service, operation)
    members = {xform_name(name, "-"): name for name in model.input_shape.members}
    parameters = {
        members[name]: _value(model.input_shape.members[members[name]], text)
        for name, text in _options(rest)
    }
    return AwsCall(service, operation.replace("-", "_"), parameters)


@cache
def _operation(service: str, operation: str) -> Any:
    model = botocore.session.get_session().get_service_model(service)
    names = {xform_name(name, "-"): name for name in model.operation_names}
    found: OperationModel = model.operation_model(names[operation])
    return found


def _options(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the options; one without a value is a flag."""
    for number, word in enumerate(words):
        if word.startswith("--"):
            following = words[number + 1 : number + 2]
            value = "" if not following or following[0].startswith("--") else following[0]
            yield word.removeprefix("--"), value


def _value(shape: Shape, text: str) -> Any:
    match shape.type_name:
        case "boolean":
            return True
        case "integer":
            return int(text)
        case "list":
            return [text]
        case "structure" | "map":
            return json.loads(text)
    return text
