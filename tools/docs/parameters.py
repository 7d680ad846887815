"""The table of the parameters of template.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cfnlint.decode

from tools.docs.markdown import code, table

Parameters = Mapping[str, Mapping[str, Any]]


def read_parameters(template: Path) -> Parameters:
    """Read the parameters of a template; raises ValueError for one that is no template."""
    decoded, problems = cfnlint.decode.decode(str(template))
    if decoded is None:
        msg = f"{template} cannot be read: {problems}"
        raise ValueError(msg)
    found: Parameters = decoded["Parameters"]
    return found


def parameters_table(parameters: Parameters) -> str:
    """Make the table of some parameters, in their order."""
    rows = [
        [code(name), code(told.get("Default", "")), _allowed(told), told.get("Description", "")]
        for name, told in parameters.items()
    ]
    return table(["parameter", "default", "allowed", "meaning"], rows)


def _allowed(told: Mapping[str, Any]) -> str:
    """What CloudFormation accepts, in the template's own words where it has some."""
    least, most = told.get("MinValue"), told.get("MaxValue")
    if "AllowedValues" in told:
        return ", ".join(map(code, told["AllowedValues"]))
    if "ConstraintDescription" in told:
        return str(told["ConstraintDescription"])
    if "AllowedPattern" in told:
        return code(told["AllowedPattern"])
    if least is not None and most is not None:
        return f"{least} to {most}"
    if least is not None or most is not None:
        return f"at least {least}" if most is None else f"at most {most}"
    return ""
