"""Changes to deployed functions, for the time of a test."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from local.environment import ROOT
from local.stack import Stack


def configure(functions: Any, name: str, **configuration: Any) -> None:
    """Change the configuration of a function, and let its alias, if it has one, stand for that.

    `functions` is a client of Lambda. Whatever calls a function calls a version by its alias, and a
    version keeps the code and the configuration with which it was published.
    """
    functions.update_function_configuration(FunctionName=name, **configuration)
    for alias in functions.list_aliases(FunctionName=name)["Aliases"]:
        version = functions.publish_version(FunctionName=name)["Version"]
        functions.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)


@contextmanager
def idle(stack: Stack, logical_id: str) -> Iterator[None]:
    """Have nobody read the queues of a function, so that what is in them waits."""
    functions = stack.deployed.client("lambda")
    name = stack.deployed.resource(logical_id)
    sources = functions.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    for source in sources:
        functions.update_event_source_mapping(UUID=source["UUID"], Enabled=False)
    try:
        yield
    finally:
        for source in sources:
            functions.update_event_source_mapping(UUID=source["UUID"], Enabled=True)


@contextmanager
def replaced(
    stack: Stack, logical_id: str, *, by: str, folder: str, timeout: int, **variables: str
) -> Iterator[None]:
    """Put a module of tests/support/fakes in the place of a function, which it calls itself.

    `folder` is the function's of `functions`; `variables` are added to its environment.
    """
    functions = stack.deployed.client("lambda")
    name = stack.deployed.resource(logical_id)
    was = functions.get_function_configuration(FunctionName=name)
    environment = was["Environment"]["Variables"]
    functions.update_function_code(FunctionName=name, ZipFile=_zipped(folder, by))
    changed = {"Variables": environment | variables}
    configure(functions, name, Handler=f"{by}.handler", Timeout=timeout, Environment=changed)
    try:
        yield
    finally:
        configure(
            functions,
            name,
            Handler=was["Handler"],
            Timeout=was["Timeout"],
            Environment={"Variables": environment},
        )


def _zipped(folder: str, fake: str) -> bytes:
    app = (ROOT / f"functions/{folder}/app.py").read_text()
    files = {
        "app.py": app,  # for the function's own handler, afterwards
        f"functions/{folder}/app.py": app,
        f"{fake}.py": (ROOT / f"tests/support/fakes/{fake}.py").read_text(),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()
