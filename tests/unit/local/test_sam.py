"""What is done to a build, so that each deployment of it is short."""

import stat
from pathlib import Path
from zipfile import ZipFile

from local.sam import _zip_dependencies


def test_the_layer_of_dependencies_is_zipped_once_as_it_is(tmp_path: Path) -> None:
    package = tmp_path / "DependenciesLayer/python/package"
    package.mkdir(parents=True)
    (package / "module.py").write_text("")
    (package / "program").write_text("")
    (package / "program").chmod(0o755)
    template = tmp_path / "template.yaml"
    template.write_text("  ContentUri: DependenciesLayer\n  ContentUri: Sd3Layer\n")
    _zip_dependencies(tmp_path)
    assert template.read_text() == ("  ContentUri: DependenciesLayer.zip\n  ContentUri: Sd3Layer\n")
    with ZipFile(tmp_path / "DependenciesLayer.zip") as zipped:
        files = {info.filename: info for info in zipped.infolist() if not info.is_dir()}
    assert files.keys() == {"python/package/module.py", "python/package/program"}
    assert files["python/package/program"].external_attr >> 16 & stat.S_IXUSR
