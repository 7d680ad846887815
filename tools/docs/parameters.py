"""The table of the parameters of template.yaml."""

from collections.abc import Mapping
from typing import Any

from tools.docs.markdown import code, table

Parameters = Mapping[str, Mapping[str, Any]]


def parameters_table(parameters: Parameters) -> str:
    """Make the table of parameters, in their order."""
    rows = [
        [code(name), code(each.get("Default", "")), _allowed(each), each.get("Description", "")]
        for name, each in parameters.items()
    ]
    return table(["parameter", "default", "allowed", "meaning"], rows)


def _allowed(parameter: Mapping[str, Any]) -> str:
    """Describe the accepted values, in the words of the template if it has a description."""
    least, most = parameter.get("MinValue"), parameter.get("MaxValue")
    if "AllowedValues" in parameter:
        return ", ".join(map(code, parameter["AllowedValues"]))
    if "ConstraintDescription" in parameter:
        return str(parameter["ConstraintDescription"])
    if "AllowedPattern" in parameter:
        return code(parameter["AllowedPattern"])
    if least is not None and most is not None:
        return f"{least} to {most}"
    if least is not None or most is not None:
        return f"at least {least}" if most is None else f"at most {most}"
    return ""
