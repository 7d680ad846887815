"""Changes to deployed functions, for the time of a test."""

from typing import Any


def configure(functions: Any, name: str, **configuration: Any) -> None:
    """Change the configuration of a function, and let its alias, if it has one, stand for that.

    `functions` is a client of Lambda. Whatever calls a function calls a version by its alias, and a
    version keeps the code and the configuration with which it was published.
    """
    functions.update_function_configuration(FunctionName=name, **configuration)
    for alias in functions.list_aliases(FunctionName=name)["Aliases"]:
        version = functions.publish_version(FunctionName=name)["Version"]
        functions.update_alias(FunctionName=name, Name=alias["Name"], FunctionVersion=version)
