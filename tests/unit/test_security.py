"""docs/security.md cites tests: they are there."""

import re

from local.environment import ROOT


def test_every_test_that_the_page_cites_is_there() -> None:
    cited = set(re.findall(r"`(test_\w+)`", (ROOT / "docs/security.md").read_text()))
    written = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(cited) > 40
    assert cited <= set(re.findall(r"^def (test_\w+)", written, re.MULTILINE))
