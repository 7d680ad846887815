"""What a stack has that signs images, and what one has that does not."""

import re

import pytest

from tests.support.factories.conditions import conditions
from tests.support.factories.template import ROOT, of_type, resolved, translated
from tests.support.privileges import GENERATING


@pytest.mark.parametrize(
    ("parameters", "signing"), [({}, set()), ({"C2paSecretArn": "arn"}, {*GENERATING})]
)
def test_only_functions_that_sign_have_the_layer_that_signs(
    parameters: dict[str, str], signing: set[str]
) -> None:
    holding = conditions(**parameters)
    layers = of_type(translated(), "AWS::Lambda::LayerVersion")
    [c2pa] = (name for name in layers if name.startswith("C2paLayer"))
    of_all = {*layers} - {c2pa}
    for name, function in of_type(translated(), "AWS::Lambda::Function").items():
        attached = {each["Ref"] for each in resolved(function["Properties"], holding)["Layers"]}
        assert attached == (of_all | {c2pa} if name in signing else of_all)
    assert (layers[c2pa]["Condition"] in holding) == bool(signing)


@pytest.mark.parametrize("name", GENERATING)
def test_another_version_of_the_package_that_signs_publishes_versions(name: str) -> None:
    """SAM publishes none for a layer in a condition: the alias would keep the layer before."""
    locked = re.search(r"c2pa-python==(\S+)", (ROOT / "requirements/c2pa.txt").read_text())
    assert locked
    assert f"C2PA: {locked[1]}" in str(translated()[name]["Properties"]["Description"])
