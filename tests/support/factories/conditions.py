"""The conditions and rules of template.yaml, evaluated for values of its parameters."""

from collections.abc import Callable
from typing import Any, Final

from tests.support.factories.template import source

FUNCTIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "Fn::Not": lambda tests: not tests[0],
    "Fn::And": all,
    "Fn::Or": any,
    "Fn::Equals": lambda pair: str(pair[0]) == str(pair[1]),
    "Fn::Join": lambda parts: parts[0].join(parts[1]),
    "Fn::Split": lambda parts: parts[1].split(parts[0]),
    "Fn::Select": lambda parts: parts[1][int(parts[0])],
}
"""What CloudFormation's functions make of their arguments."""


def conditions(**given: str) -> set[str]:
    """Return the conditions that hold with these parameters, and the defaults of the others."""
    return {name for name, test in source()["Conditions"].items() if _evaluated(test, given)}


def broken_rules(**given: str) -> list[str]:
    """Return the rules by which CloudFormation refuses these parameters."""
    return [
        name
        for name, rule in source()["Rules"].items()
        if _evaluated(rule.get("RuleCondition", True), given)
        and not all(_evaluated(each["Assert"], given) for each in rule["Assertions"])
    ]


def _evaluated(value: Any, given: dict[str, str]) -> Any:
    if isinstance(value, list):
        return [_evaluated(each, given) for each in value]
    if not isinstance(value, dict):
        return value
    [(function, arguments)] = value.items()
    if function == "Ref":
        return _parameter(arguments, given)
    if function == "Condition":
        return _evaluated(source()["Conditions"][arguments], given)
    return FUNCTIONS[function](_evaluated(arguments, given))


def _parameter(name: str, given: dict[str, str]) -> str | list[str]:
    parameter = source()["Parameters"][name]
    text = given.get(name, str(parameter["Default"]))
    return text.split(",") if parameter["Type"] == "CommaDelimitedList" else text
