"""make demo on the deployed stack: every way in and out works, once."""

from pathlib import Path

import pytest

from local.demo import IMAGES, STEPS, main
from local.environment import write_env
from local.stack import Stack


def test_one_of_everything_comes_and_is_counted(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = "demo"
    token = stack.deployed.issue_token(client)
    settings = {"SD3_API_URL": stack.api_url, "SD3_API_TOKEN": token, "SD3_CLIENT": client}
    write_env(tmp_path / "env", settings | stack.aws)
    folder = tmp_path / "images"
    assert main(["--yes", "--env", str(tmp_path / "env"), "--folder", str(folder)]) == 0
    printed = capsys.readouterr().out
    rows = printed.splitlines()[1 : len(STEPS) + 1]
    assert [row[:2] for row in rows] == ["✓ "] * len(STEPS)
    assert f"today: $0.00 for 0 images before; $0.30 for {IMAGES} images after" in printed
    assert len(list(folder.iterdir())) == IMAGES + 1  # a rendition of one of them
    assert max(map(len, printed.splitlines()[:-1])) <= 80
    inbox = stack.deployed.client("s3").list_objects_v2(
        Bucket=stack.deployed.outputs()["InboxBucket"], Prefix=f"{client}/"
    )
    assert inbox["KeyCount"] == 0
    assert token not in printed
