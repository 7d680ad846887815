"""The commands of docs/c2pa.md make a secret that signs."""

import re
import subprocess
from pathlib import Path

from sd3.domain.signing_certificate import SigningCertificate

PAGE = Path(__file__).parents[2] / "docs/c2pa.md"


def test_the_commands_of_the_page_make_a_secret(tmp_path: Path) -> None:
    for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL):
        subprocess.run(["bash", "-ec", block], cwd=tmp_path, check=True, capture_output=True)  # noqa: S603, S607
    found = SigningCertificate.from_secret((tmp_path / "c2pa.json").read_text())
    assert found.algorithm == "es256"
