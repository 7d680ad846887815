"""A bill of materials that is not what the layer ships is refused."""

import json
from pathlib import Path

import pytest

from local.bill import main


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with one package in it."""
    installed = tmp_path / "layer/typing_extensions-4.16.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: typing_extensions\nVersion: 4.16.0\n")
    return installed.parent


def bill(folder: Path, *packages: tuple[str, str]) -> Path:
    path = folder / "sbom.json"
    components = [{"name": name, "version": version} for name, version in packages]
    path.write_text(json.dumps({"components": components}))
    return path


def test_what_is_shipped_is_listed(layer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bill(layer.parent, ("typing-extensions", "4.16.0"))
    assert main(path, layer) == 0
    assert capsys.readouterr().out == f"{path} lists the 1 packages that are shipped\n"


def test_what_is_not_listed_is_named(layer: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bill(layer.parent, ("typing-extensions", "4.15.0"))
    assert main(path, layer) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{path} lacks typing-extensions 4.16.0",
        f"{path} has typing-extensions 4.15.0, which is not shipped",
    ]


def test_an_empty_layer_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(bill(tmp_path), tmp_path) == 1
    assert capsys.readouterr().err == f"nothing is installed in {tmp_path}\n"
