"""The command sd3: what it writes and prints, its exit codes, and what Ctrl-C does."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sd3_client.cli import main
from tests.support.servers.scripted_server import (
    MisbehavingServer,
    Received,
    Reply,
    http_reply,
    raw,
)
from tests.unit.python_client.conftest import answer, batch, error, job

Serve = Callable[..., MisbehavingServer]


class Service(MisbehavingServer):
    """Answers a POST by its script, and fetches of images by links to itself."""

    link_status = 200

    def next_reply(self, received: Received) -> Reply:
        with self._lock:
            self.requests.append(received)
            if received.path.startswith("/file"):
                return http_reply(self.link_status, received.path.encode())
            if "/images/" in received.path:
                return answer(200, {"url": f"{self.url}/file{received.path}"})
            return self.script.pop(0) if len(self.script) > 1 else self.script[0]


@pytest.fixture
def serve(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    pauses: list[float],
    request: pytest.FixtureRequest,
) -> Serve:
    """Start a service that the environment names."""

    def start(*script: Reply) -> MisbehavingServer:
        server = Service(*script)
        request.addfinalizer(lambda: server.__exit__(None, None, None))
        monkeypatch.setenv("SD3_API_URL", server.__enter__().url)
        return server

    monkeypatch.setenv("SD3_API_TOKEN", "sd3_token")
    monkeypatch.chdir(tmp_path)
    return start


def test_an_image_is_written_and_its_name_is_printed(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(answer(200, job(cost_usd=0.03)))
    options = "--size 1216x832 --seed 7 --steps 20 --negative fog -n 1"
    assert main(["generate", "a fox", "-o", "fox.jpg", *options.split()]) == 0
    assert Path("fox.jpg").read_bytes() == b"/file/jobs/j1/images/0"
    printed = capsys.readouterr()
    assert printed.out == "fox.jpg\n"
    assert printed.err == "sd3: job j1 succeeded, $0.03\n"
    assert server.requests[0].json == {
        "prompt": "a fox", "width": 1216, "height": 832, "seed": 7, "steps": 20,
        "negative_prompt": "fog", "num_images": 1,
    }  # fmt: skip


def test_several_images_have_numbers_and_the_format_of_the_name(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    server = serve(answer(200, job(images=2)))
    assert main(["generate", "a fox", "-o", "fox.webp"]) == 0
    assert capsys.readouterr().out == "fox-0.webp\nfox-1.webp\n"
    assert Path("fox-1.webp").read_bytes() == b"/file/jobs/j1/images/1?format=webp"
    assert main(["generate", "a fox"]) == 0
    assert Path("j1-0.jpg").exists()
    assert main(["generate", "a fox", "-o", "fox.png"]) == 0
    assert server.requests[-1].path.endswith("/images/1?format=png")
    [*posts] = [request.json for request in server.requests if request.method == "POST"]
    assert [post.get("image_encoding") for post in posts] == [None, None, "png"]


def test_a_script_repeats_a_command_with_its_key(serve: Serve) -> None:
    server = serve(answer(200, job()))
    for _ in range(2):
        assert main(["generate", "a fox", "--key", "order-7"]) == 0
    posts = [each for each in server.requests if each.method == "POST"]
    assert [each.headers["idempotency-key"] for each in posts] == ["order-7"] * 2
    assert posts[0].json == {"prompt": "a fox"}


@pytest.mark.parametrize("breaks", ["link", "disk"])
def test_a_paid_job_whose_image_is_not_written_is_named(
    serve: Serve, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    server = serve(answer(200, job()))
    if breaks == "disk":
        monkeypatch.setattr(Path, "write_bytes", full)
    else:
        monkeypatch.setattr(server, "link_status", 403)
    assert main(["generate", "a fox"]) != 0
    assert "sd3 wait j1" in capsys.readouterr().err


def test_json_is_the_job_and_no_file_unless_one_is_named(
    serve: Serve, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    serve(answer(200, job()))
    assert main(["generate", "a fox", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == job()
    assert [*tmp_path.iterdir()] == []


def test_without_a_terminal_each_change_is_a_line(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = job("queued", queue_position=2, eta_seconds=130)
    runs = job("running", progress={"done": 1, "of": 2}, eta_seconds=3.6)
    first = job("queued", queue_position=0)
    server = serve(*(answer(200, each) for each in (waits, waits, first, runs, job())))
    assert main(["generate", "a fox", "--queue", "-o", "fox.jpg"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        "j1: queued, 2 before it, about 2 min 10 s",
        "j1: queued, next",
        "j1: running, 1 of 2 images, about 4 s",
        "sd3: job j1 succeeded, $0.00",
    ]
    assert server.requests[0].headers["prefer"] == "respond-async"


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (422, "validation_error", 2),
        (401, "unauthorized", 1),
        (402, "budget_exceeded", 1),
        (502, "upstream_error", 1),
        (503, "upstream_unavailable", 3),
        (429, "rate_limited", 3),
        (504, "still_running", 3),
    ],
)
def test_an_error_has_an_exit_code_and_its_request(
    serve: Serve, capsys: pytest.CaptureFixture[str], status: int, code: str, exit_code: int
) -> None:
    serve(answer(status, error(code, message="\x1b[2JNo.", job_id="j1")))
    assert main(["generate", "a fox"]) == exit_code
    printed = capsys.readouterr().err
    assert printed.endswith(f"sd3: {code}: ?[2JNo.\n  request r1\n")
    assert ("sd3 wait j1" in printed) == (code == "still_running")


def test_an_image_that_was_removed_or_failed_is_said(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    made = job(images=3)
    made["images"][0] |= {"url": None, "removed_for_safety": True}
    made["images"][1] |= {"url": None, "error": {"code": "x", "message": "Its data is damaged."}}
    serve(answer(200, made))
    assert main(["wait", "j1", "-o", "fox.jpg"]) == 1
    printed = capsys.readouterr()
    assert printed.out == "fox-2.jpg\n"
    assert "image 0: removed for safety\n" in printed.err
    assert "image 1: Its data is damaged.\n" in printed.err


@pytest.mark.parametrize(
    "options",
    [
        ["-o", "fox.gif"],
        ["-o", "missing/fox.jpg"],
        ["-o", "folder.jpg"],
        ["--init", "missing.png"],
        ["--size", "1216"],
        ["--size", "-1x5"],
        ["--seed", "x"],
        ["-n", "1.5"],
        ["--unknown"],
    ],
)
def test_what_is_wrong_here_is_said_before_anything_is_sent(
    serve: Serve, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    server = serve(answer(200, job()))
    Path("folder.jpg").mkdir()
    try:
        code = main(["generate", "a fox", *options])
    except SystemExit as ended:  # argparse
        code = int(ended.code or 0)
    assert code == 2
    assert server.requests == []
    assert "Traceback" not in capsys.readouterr().err


def test_what_the_environment_lacks_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SD3_API_URL", raising=False)
    assert main(["generate", "a fox"]) == 2
    assert "SD3_API_URL and SD3_API_TOKEN" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cancel", "said"),
    [
        (answer(200, job("canceled", cost_usd=0.03)), "j1 was canceled: $0.03"),
        (answer(500, error("internal_error")), "j1 was not canceled"),
    ],
)
def test_ctrl_c_cancels_the_job(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    cancel: Reply, said: str,
) -> None:  # fmt: skip
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    server = serve(answer(202, job("queued")), cancel)
    monkeypatch.setattr("sd3_client.client.Client.wait", interrupt)
    assert main(["generate", "a fox", "-o", "fox.jpg"]) == 130
    assert server.requests[1].path == "/jobs/j1/cancel"
    assert said in capsys.readouterr().err
    monkeypatch.setattr("sd3_client.client.Client.submit", interrupt)
    assert main(["generate", "a fox"]) == 130
    assert "goes on" in capsys.readouterr().err


def test_ctrl_c_of_a_wait_leaves_the_job(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    server = serve(answer(200, job("queued")))
    monkeypatch.setattr(time, "sleep", interrupt)
    assert main(["wait", "j1"]) == 130
    assert [request.method for request in server.requests] == ["GET"]
    assert "j1 goes on" in capsys.readouterr().err


def test_a_file_of_requests_becomes_a_file_of_results(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("lines.jsonl").write_text('{"custom_id": "1", "prompt": "a fox"}\n')
    server = serve()
    form = {"id": "u1", "url": f"{server.url}/bucket", "fields": {}}
    server.script = [
        answer(201, form),
        http_reply(204),
        answer(202, batch("validating")),
        answer(200, batch("in_progress", total=2, completed=1, failed=0), retry_after="5"),
        answer(200, batch("completed", total=2, completed=1, failed=1)),
        answer(200, {"url": f"{server.url}/results"}),
        http_reply(200, b'{"custom_id":"1"}\n{"custom_id":"2"}\n'),
    ]
    assert main(["batch", "lines.jsonl", "-o", "results.jsonl"]) == 1
    assert len(Path("results.jsonl").read_text().splitlines()) == 2
    printed = capsys.readouterr()
    assert printed.out == "results.jsonl\n"
    assert printed.err.splitlines() == [
        "b1: validating",
        "b1: in_progress, 1 of 2 lines",
        "sd3: batch b1 completed: 2 total, 1 completed, 1 failed, $0.00",
    ]
    asked, _, made, *_ = server.requests
    assert asked.json == {"content_type": "application/jsonl"}
    assert made.json == {"upload_id": "u1"}
    assert made.headers["idempotency-key"]


@pytest.mark.parametrize(
    ("command", "open_answer", "ended", "again"),
    [
        ("generate fox", answer(202, job("queued")), answer(200, job()), "wait j1"),
        (
            "batch lines.jsonl",
            answer(202, batch("validating")),
            answer(200, batch("completed", total=1, completed=1, failed=0)),
            "batch --wait b1",
        ),
    ],
)
@pytest.mark.parametrize("lost", [raw(b""), answer(503, error("upstream_unavailable"))])
def test_what_is_paid_is_named_where_the_service_is_out_of_reach_and_can_be_waited_for_again(
    serve: Serve,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    open_answer: Reply,
    ended: Reply,
    again: str,
    lost: Reply,
) -> None:
    monkeypatch.setattr("sd3_client.client.Client.upload", lambda *_: "u1")
    Path("lines.jsonl").write_text("{}")
    server = serve(open_answer, lost)
    output = ["-o", "out.jsonl"] if "batch" in command else ["-o", "fox.jpg"]
    assert main([*command.split(), *output]) == 3
    assert f"goes on, and is paid: sd3 {again}\n" in capsys.readouterr().err
    server.script[:] = [ended]
    monkeypatch.setattr("sd3_client.batches.Batches.results", lambda *_: iter([{"line": 1}]))
    assert main([*again.split(), *output]) == 0
    assert capsys.readouterr().out == f"{output[1]}\n"
    assert all(request.method == "GET" for request in server.requests[1:])


def test_a_job_that_failed_because_the_upstream_was_busy_does_not_go_on(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    why = {"code": "upstream_unavailable", "message": "It is busy."}
    serve(answer(202, job("queued")), answer(200, job("failed", error=why)))
    assert main(["generate", "a fox"]) == 3
    assert "goes on" not in capsys.readouterr().err


def test_ctrl_c_cancels_the_batch(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sd3_client.client.Client.upload", lambda *_: "u1")
    monkeypatch.setattr(time, "sleep", interrupt)
    Path("lines.jsonl").write_text("{}")
    server = serve(*(answer(202, batch(status)) for status in ("validating", "validating")))
    assert main(["batch", "lines.jsonl", "-o", "results.jsonl"]) == 130
    assert server.requests[-1].path == "/batches/b1/cancel"
    assert "b1 was canceled" in capsys.readouterr().err


def test_a_batch_that_failed_as_a_whole_says_why(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    why = {"code": "validation_error", "message": "Lines 1 and 2 have one custom_id."}
    Path("lines.jsonl").write_text("{}")
    server = serve()
    form = {"id": "u1", "url": f"{server.url}/bucket", "fields": {}}
    failed = answer(202, batch("failed", error=why))
    server.script = [answer(201, form), http_reply(204), failed]
    assert main(["batch", "lines.jsonl", "-o", "results.jsonl"]) == 1
    assert "Lines 1 and 2" in capsys.readouterr().err
    assert not Path("results.jsonl").exists()
    assert main(["batch", "missing.jsonl", "-o", "results.jsonl"]) == 2
    assert main(["batch", "lines.jsonl", "-o", "results.txt"]) == 2
