"""Evaluates alarms as CloudWatch does: period by period, with metric math over what there is.

It knows the functions and operators that monitoring.yaml uses. A metric without data in a period
has no value there: SUM and MAX leave it out, and every other expression has no value either.
"""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from typing import Any, Final

Value = float | None
"""A value in one period; None where there is none."""

Read = Callable[[Mapping[str, Any], float, float], Value]
"""Reads the statistic of a MetricStat from one time until another."""

_OPERATORS: Final[Mapping[type[ast.AST], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}

_COMPARISONS: Final = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}

_FUNCTIONS: Final[Mapping[str, Callable[[Sequence[float]], float]]] = {"SUM": sum, "MAX": max}


def state_of(alarm: Mapping[str, Any], read: Read, *, now: float) -> str | None:
    """Return the state of an alarm, by the names of PutMetricAlarm; None to leave it as it is."""
    queries = alarm.get("Metrics") or [{"Id": "value", "MetricStat": _stat(alarm)}]
    period = int(next(one["MetricStat"]["Period"] for one in queries if "MetricStat" in one))
    count = int(alarm["EvaluationPeriods"])
    ends = (now - period * number for number in range(count))
    values = [_result(queries, read, since=end - period, until=end) for end in ends]
    if None in values and alarm.get("TreatMissingData") == "ignore":
        return None
    crosses, threshold = _COMPARISONS[alarm["ComparisonOperator"]], float(alarm["Threshold"])
    breaching = sum(crosses(value, threshold) for value in values if value is not None)
    return "ALARM" if breaching >= int(alarm.get("DatapointsToAlarm") or count) else "OK"


def evaluate(expression: str, values: Mapping[str, Value]) -> Value:
    """Evaluate a math expression in one period. Raises ValueError for what it does not know."""
    return _evaluated(ast.parse(expression, mode="eval").body, values)


def _stat(alarm: Mapping[str, Any]) -> dict[str, Any]:
    metric = {name: alarm.get(name) or [] for name in ("Namespace", "MetricName", "Dimensions")}
    stat = alarm.get("ExtendedStatistic") or alarm["Statistic"]
    return {"Metric": metric, "Stat": stat, "Period": alarm["Period"]}


def _result(
    queries: Sequence[Mapping[str, Any]], read: Read, *, since: float, until: float
) -> Value:
    """Return the value of the query that returns data. The others are what it is made of."""
    values = {
        one["Id"]: read(one["MetricStat"], since, until) for one in queries if "MetricStat" in one
    }
    expressions = {one["Id"]: one["Expression"] for one in queries if "Expression" in one}
    [result] = [one["Id"] for one in queries if one.get("ReturnData", True)]
    graph = {one: _names(text) & expressions.keys() for one, text in expressions.items()}
    for one in TopologicalSorter(graph).static_order():
        values[one] = evaluate(expressions[one], values)
    return values[result]


def _names(expression: str) -> set[str]:
    tree = ast.walk(ast.parse(expression, mode="eval"))
    return {node.id for node in tree if isinstance(node, ast.Name)}


def _evaluated(node: ast.AST, values: Mapping[str, Value]) -> Value:
    match node:
        case ast.Constant(value=int() | float() as number):
            return number
        case ast.Name(id=name):
            return values[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _combined(ast.Sub, 0, _evaluated(operand, values))
        case (
            ast.BinOp(left=left, op=op, right=right)
            | ast.Compare(left=left, ops=[op], comparators=[right])
        ):
            return _combined(type(op), _evaluated(left, values), _evaluated(right, values))
        case ast.Call(func=ast.Name(id="IF"), args=[condition, then, otherwise]):
            holds = _evaluated(condition, values)
            return None if holds is None else _evaluated(then if holds else otherwise, values)
        case ast.Call(func=ast.Name(id=name), args=[ast.List(elts=parts)]) if name in _FUNCTIONS:
            found = [_evaluated(part, values) for part in parts]
            there = [value for value in found if value is not None]
            return _FUNCTIONS[name](there) if there else None
    msg = f"not known in metric math: {ast.unparse(node)}"
    raise ValueError(msg)


def _combined(kind: type[ast.AST], left: Value, right: Value) -> Value:
    if left is None or right is None or (kind is ast.Div and right == 0):
        return None
    return float(_OPERATORS[kind](left, right))
