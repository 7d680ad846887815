"""A bill of materials that differs from the layer is an error."""

import json
from pathlib import Path

import pytest

from tools.bill_of_materials import main

NPM_LOCK = {
    "packages": {
        "node_modules/@scarf/scarf": {"version": "1.4.0", "integrity": "sha512-AAAA"},
        "node_modules/swagger-ui-dist": {
            "version": "5.35.0",
            "integrity": "sha512-/wA=",
            "license": "Apache-2.0",
        },
    }
}


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """Provide a layer with one package in it."""
    installed = tmp_path / "layer/typing_extensions-4.16.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: typing_extensions\nVersion: 4.16.0\n")
    return installed.parent


def bill(folder: Path, *packages: tuple[str, str]) -> Path:
    path = folder / "sbom.json"
    components = [{"name": name, "version": version} for name, version in packages]
    path.write_text(json.dumps({"components": components}))
    return path


@pytest.fixture
def npm_lock(tmp_path: Path) -> Path:
    """npm's lock, of a package that is shipped and of one that is not."""
    path = tmp_path / "package-lock.json"
    path.write_text(json.dumps(NPM_LOCK))
    return path


def test_what_is_shipped_is_listed(
    layer: Path, npm_lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bill(layer.parent, ("typing-extensions", "4.16.0"))
    assert main(path, npm_lock, layer) == 0
    assert capsys.readouterr().out == f"{path} lists the 2 packages that are shipped\n"


def test_what_npm_brought_is_added(layer: Path, npm_lock: Path) -> None:
    path = bill(layer.parent, ("typing-extensions", "4.16.0"))
    main(path, npm_lock, layer)
    python, npm = json.loads(path.read_text())["components"]
    assert python["name"] == "typing-extensions"
    assert npm["purl"] == "pkg:npm/swagger-ui-dist@5.35.0"
    assert npm["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert npm["hashes"] == [{"alg": "SHA-512", "content": "ff00"}]


def test_what_is_not_listed_is_named(
    layer: Path, npm_lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = bill(layer.parent, ("typing-extensions", "4.15.0"))
    assert main(path, npm_lock, layer) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{path} lacks typing-extensions 4.16.0",
        f"{path} has typing-extensions 4.15.0, which is not shipped",
    ]


def test_an_empty_layer_is_an_error(
    tmp_path: Path, npm_lock: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(bill(tmp_path), npm_lock, tmp_path) == 1
    assert capsys.readouterr().err == f"nothing is installed in {tmp_path}\n"
