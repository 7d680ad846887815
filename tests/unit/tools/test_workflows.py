"""deploy/github: the workflows call what there is, and their variables are explained."""

import re
from typing import Final

import pytest

from ops.deploy import ALARMS
from tests.support.factories.template import source
from tools import ROOT

WORKFLOWS: Final = {path.name: path.read_text() for path in (ROOT / "deploy/github").glob("*.yaml")}
PAGE: Final = (ROOT / "docs/pipeline.md").read_text()
MAKEFILE: Final = (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("name", WORKFLOWS)
def test_commands_and_files_that_a_workflow_names_are_there(name: str) -> None:
    commands = re.findall(r"^ +(?:- )?(?:run: )?make ([a-z-]+)", WORKFLOWS[name], re.MULTILINE)
    for command in commands:
        assert re.search(rf"^{command}:", MAKEFILE, re.MULTILINE), command
    for called in re.findall(r"uses: \./\.github/workflows/(\S+)", WORKFLOWS[name]):
        assert called in WORKFLOWS


def test_an_update_is_watched_for_as_long_as_the_slowest_of_its_alarms_looks_back() -> None:
    [minutes] = re.findall(r"vars\.MONITOR \|\| '(\d+)'", WORKFLOWS["deploy-stack.yaml"])
    monitoring = source("monitoring.yaml")
    for name in ALARMS:
        alarm = monitoring["Resources"][monitoring["Outputs"][name]["Value"]["Ref"]]["Properties"]
        periods = [
            each["MetricStat"]["Period"]
            for each in alarm.get("Metrics", [])
            if "MetricStat" in each
        ]
        looks_back = alarm["EvaluationPeriods"] * max(periods, default=alarm.get("Period", 0))
        assert 60 * int(minutes) >= looks_back
    assert f"{minutes} without it" in PAGE


def test_the_page_explains_each_variable_and_where_its_value_comes_from() -> None:
    used = {name for text in WORKFLOWS.values() for name in re.findall(r"vars\.(\w+)", text)}
    assert used == set(
        re.findall(r"`([A-Z_]+)`", PAGE.partition("| variable |")[2].partition("5. ")[0])
    )
    outputs = "".join(str(output) for output in source("deploy/oidc.yaml")["Outputs"].values())
    for name in ("DEPLOYER_ROLE", "EXECUTION_ROLE", "ARTIFACTS_BUCKET"):
        assert name in outputs
