"""Templates as they are written, and as SAM translates them for CloudFormation."""

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import cfnlint.decode
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

Template = dict[str, Any]


def read_template(path: Path) -> Template:
    """Read a template as written, with intrinsics in their long form.

    Raises ValueError for an invalid one.
    """
    template, problems = cfnlint.decode.decode(str(path))
    if problems or template is None:
        msg = f"{path} cannot be read: {problems}"
        raise ValueError(msg)
    plain: Template = json.loads(json.dumps(template, default=str))
    return plain


def packaged(template: Template, code: str = "key") -> Template:
    """Return a copy whose functions and layers have their code in a bucket, under this key."""
    template = copy.deepcopy(template)
    for resource in template["Resources"].values():
        for name in {"CodeUri", "ContentUri"} & set(resource.get("Properties", {})):
            resource["Properties"][name] = f"s3://bucket/{code}"
    return template


def default_values(template: Template) -> dict[str, str]:
    """Return the parameters' defaults, and a text for one that has none."""
    parameters = template["Parameters"]
    return {name: parameter.get("Default", "x") for name, parameter in parameters.items()}


def translate(template: Template, values: Mapping[str, str]) -> Template:
    """Translate a packaged template for CloudFormation. It is changed."""
    session = boto3.Session(region_name="us-east-1")
    translator = Translator({}, Parser(), boto_session=session)
    translated: Template = translator.translate(template, values)
    return translated
