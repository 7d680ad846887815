"""The inbox over fakes: a file becomes one job, and always gets a result."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from typing import IO, Any, Final

import pytest

from sd3.domain.client import NO_LIMITS, READ, SCOPES, Client, ClientLimits
from sd3.domain.inbox import MAX_IMAGE_BYTES, InboxFile, InboxObject, InboxOrigin, result_key
from sd3.domain.job import JobStatus
from sd3.domain.request import GenerateRequest
from sd3.errors import InvalidRequestError, RequestError, StorageError, UnexpectedError
from sd3.responses.render import job_event
from sd3.services.inbox import Inbox
from tests.support.factories.heif_files import heic
from tests.support.factories.images import jpeg, png, webp
from tests.support.fakes.ports import (
    NOON,
    FakeImages,
    FakeJobs,
    FakeQueue,
    FakeSource,
    FakeTime,
    FakeUploads,
    make_submission,
)
from tests.support.fakes.unreliable_world import Between, Crash

METADATA: Final = {"prompt": "a fox"}
UPLOAD_ID: Final = "0123456789abcdef" * 2


LIMITED: Final = {
    "small": ClientLimits(max_images=2),
    "thrifty": ClientLimits(daily_budget_micros=50_000),
    "poor": ClientLimits(daily_budget_micros=1),
    "hasty": ClientLimits(requests_per_minute=1),
}


class FakeFiles:
    """The inbox as a dict by key; what is too large or gone is an error as in S3."""

    def __init__(self) -> None:
        self.files: dict[str, InboxFile | None] = {}
        self.limits: list[int] = []

    def read(self, upload: InboxObject, *, max_bytes: int) -> InboxFile | None:
        self.limits.append(max_bytes)
        return self.files[upload.key]

    def copy(self, upload: InboxObject, bucket: str, key: str, *, max_bytes: int) -> bool:
        raise NotImplementedError("tests/integration/test_inbox_batches.py has batches")


class FakeResults:
    """Results by key with their sequencers; `error` is what the next write raises."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[str, str]] = {}
        self.error: StorageError | None = None

    def write(self, origin: InboxOrigin, body: str, *, first: bool) -> bool:
        if self.error:
            raise self.error
        held, _ = self.held.get(origin.result_key, ("", ""))
        if held > origin.sequencer or (first and held == origin.sequencer):
            return False
        self.held[origin.result_key] = origin.sequencer, body
        return True

    def write_lines(self, origin: InboxOrigin, file: IO[bytes]) -> bool:
        raise NotImplementedError("an inbox writes no results of lines")


FETCHED: Final = "https://images.example/cat.png"


class FakeClients:
    """The clients acme and inbox, and some who may not do all."""

    def get(self, client_id: str) -> Client | None:
        if client_id not in {"acme", "inbox", "reader", *LIMITED}:
            return None
        scopes = frozenset([READ]) if client_id == "reader" else SCOPES
        return Client(client_id, client_id, scopes, LIMITED.get(client_id, NO_LIMITS))


class World:
    """An inbox over fakes, and what becomes of what is dropped."""

    def __init__(self) -> None:
        self.jobs = FakeJobs()
        self.images = FakeImages()
        self.uploads, self.source = FakeUploads(), FakeSource()
        self.queue = FakeQueue()
        self.clock = FakeTime()
        self.files = FakeFiles()
        self.results = FakeResults()
        self.inbox = Inbox(
            submission=make_submission(
                jobs=self.jobs,
                images=self.images,
                uploads=self.uploads,
                source=self.source,
                queue=self.queue,
                clock=self.clock,
                sync_image_steps=0,
            ),
            clients=FakeClients(),
            files=self.files,
            results=self.results,
            batches=lambda: pytest.fail("tests/integration/test_inbox_batches.py has batches"),
            images_bucket="images",
        )

    def drop(
        self,
        key: str,
        data: bytes | Mapping[str, Any],
        metadata: Mapping[str, str] | None = None,
        *,
        sequencer: str = "0055",
    ) -> RequestError | None:
        file = data if isinstance(data, bytes) else json.dumps(data).encode()
        self.files.files[key] = InboxFile(file, metadata or {})
        return self.receive(key, sequencer=sequencer)

    def receive(self, key: str, *, sequencer: str = "0055") -> RequestError | None:
        return self.inbox.receive(InboxObject("drop", key, "etag", sequencer), seconds=60)

    def result(self, key: str) -> Any:
        return json.loads(self.results.held[key][1])

    def request(self) -> GenerateRequest:
        [job] = self.jobs.items.values()
        return job.request


@pytest.fixture
def world() -> World:
    return World()


def test_a_request_becomes_a_queued_job_with_a_result(world: World) -> None:
    metadata = {"order": "7"}
    assert world.drop("acme/fox.json", {"prompt": "a fox", "metadata": metadata}) is None
    [job] = world.jobs.items.values()
    assert (job.client_id, job.status, job.request.prompt) == ("acme", JobStatus.QUEUED, "a fox")
    assert job.inbox == InboxOrigin(result_key="acme/inbox/fox.json", sequencer="0055")
    assert world.queue.sent == [(job.id, 0)]
    result = world.result("acme/inbox/fox.json")
    assert (result["id"], result["status"], result["images"]) == (job.id, "queued", [])
    assert (result["client_id"], result["metadata"]) == ("acme", metadata)


def test_an_image_is_generated_over(world: World) -> None:
    metadata = METADATA | {
        "negative-prompt": "dogs",
        "cfg_scale": "4.5",
        "steps": "20",
        "num_images": "2",
        "seed": "[7, null]",
        "width": "1344",
        "height": "768",
        "strength": "0.3",
        "image_encoding": "png",
        "metadata": '{"order": "7"}',
    }
    assert world.drop("acme/cat.JPG", jpeg(), metadata) is None
    [job] = world.jobs.items.values()
    request = job.request
    assert (request.prompt, request.negative_prompt, request.cfg_scale) == ("a fox", "dogs", 4.5)
    assert (request.steps, request.num_images, request.seed) == (20, 2, [7, None])
    assert (request.width, request.height, request.strength) == (1344, 768, 0.3)
    assert (request.image_encoding, request.metadata) == ("png", {"order": "7"})
    assert job.init_image_key
    assert world.images.objects[job.init_image_key].data == jpeg()
    assert world.result("acme/inbox/cat.json")["status"] == "queued"


def test_a_single_seed_and_a_prompt_that_looks_like_a_number_have_their_types(
    world: World,
) -> None:
    world.drop("acme/cat.png", png(), {"prompt": "42", "seed": "4275432097"})
    assert (world.request().prompt, world.request().seed) == ("42", 4275432097)


@pytest.mark.parametrize(
    ("metadata", "wrong"),
    [
        ({}, "prompt"),
        ({"prompt": ""}, "prompt"),
        (METADATA | {"nonsense": "1"}, "nonsense"),
        (METADATA | {"steps": "many"}, "steps"),
        (METADATA | {"steps": "1.5"}, "steps"),
        (METADATA | {"cfg_scale": "NaN"}, "cfg_scale"),
        (METADATA | {"width": "512"}, "width"),
        (METADATA | {"seed": "[1, 2]"}, "seed"),
        (METADATA | {"loras": "x"}, "loras"),
        (METADATA | {"init_image": "x"}, "init_image"),
        (METADATA | {"init-image-id": "x"}, "init_image_id"),
    ],
)
def test_a_wrong_field_of_an_image_is_named(
    world: World, metadata: dict[str, str], wrong: str
) -> None:
    assert world.drop("acme/cat.png", png(), metadata)
    result = world.result("acme/inbox/cat.json")
    assert result["code"] == "validation_error"
    assert [field_error["loc"] for field_error in result["detail"]] == [["body", wrong]]
    assert not world.jobs.items
    assert not world.queue.sent


def test_a_field_of_an_image_that_is_there_twice_is_a_fault(world: World) -> None:
    world.drop("acme/cat.png", png(), METADATA | {"num-images": "1", "num_images": "2"})
    [field_error] = world.result("acme/inbox/cat.json")["detail"]
    assert (field_error["loc"], field_error["type"]) == (["body"], "duplicate")
    assert not world.jobs.items


def test_a_client_without_the_generate_scope_is_forbidden(world: World) -> None:
    assert world.drop("reader/fox.json", {"prompt": "x"})
    result = world.result("reader/inbox/fox.json")
    assert (result["code"], "scope generate" in result["message"]) == ("forbidden", True)
    assert not world.jobs.items


def test_a_client_generates_as_many_images_as_it_may(world: World) -> None:
    assert world.drop("small/two.json", {"prompt": "x", "num_images": 2}) is None
    assert world.drop("small/three.json", {"prompt": "x", "num_images": 3, "steps": 0})
    assert world.drop("small/cat.png", png(), METADATA | {"num_images": "3"})
    results = [world.result(f"small/inbox/{name}.json") for name in ("three", "cat")]
    locs = [[field_error["loc"] for field_error in result["detail"]] for result in results]
    assert locs == [[["body", "steps"], ["body", "num_images"]], [["body", "num_images"]]]
    assert len(world.jobs.items) == 1


def test_an_images_format_follows_from_its_bytes(world: World) -> None:
    assert world.drop("acme/cat.png", webp(), METADATA) is None
    [image] = world.images.objects.values()
    assert image.content_type == "image/webp"


def test_a_phones_photo_is_kept_as_an_image_that_every_upstream_reads(world: World) -> None:
    assert world.drop("acme/IMG_0001.HEIC", heic(), METADATA) is None
    [image] = world.images.objects.values()
    assert image.content_type == "image/jpeg"


@pytest.mark.parametrize("data", [b"", b'{"prompt": "x"}', b"GIF89a" + b"x" * 100])
def test_what_is_no_image_is_a_precise_error(world: World, data: bytes) -> None:
    world.drop("acme/cat.png", data, METADATA)
    result = world.result("acme/inbox/cat.json")
    assert result["code"] == "validation_error"
    assert result["detail"][0]["loc"] == ["body", "init_image"]
    assert result["request_id"] == InboxObject("drop", "acme/cat.png", "", "0055").job_id


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (jpeg(), "invalid_json"),
        (b"[]", "validation_error"),
        (b'{"prompt": "x", "nonsense": 1}', "validation_error"),
        (b'{"prompt": "' + b"x" * 2_000_000 + b'"}', "validation_error"),
    ],
)
def test_an_invalid_request_returns_its_error(world: World, data: bytes, code: str) -> None:
    rejected = world.drop("acme/fox.json", data)
    assert rejected
    assert rejected.code == world.result("acme/inbox/fox.json")["code"] == code


def test_a_request_of_2_mb_with_an_init_image_is_read(world: World) -> None:
    data = png(840, 600)
    assert len(data) > 1_400_000
    init_image = base64.b64encode(data).decode()
    assert world.drop("acme/big.json", {"prompt": "x", "init_image": init_image}) is None
    [image] = world.images.objects.values()
    assert image.data == data


def test_a_request_with_a_byte_order_mark_is_read(world: World) -> None:
    assert world.drop("acme/fox.json", b'\xef\xbb\xbf{"prompt": "x"}') is None


def test_an_image_of_10_mb_is_taken(world: World) -> None:
    data = png(1900, 1800)
    assert len(data) > 10_000_000
    assert world.drop("acme/cat.png", data, METADATA) is None


def test_files_are_read_up_to_their_own_limits(world: World) -> None:
    world.drop("acme/cat.png", png(), METADATA)
    world.drop("acme/fox.json", {"prompt": "x"})
    assert world.files.limits == [MAX_IMAGE_BYTES, 6 * 1024 * 1024]


def test_the_same_event_twice_is_one_job(world: World) -> None:
    world.drop("acme/fox.json", {"prompt": "a fox"})
    [job] = world.jobs.items.values()
    ended = '{"status": "succeeded"}'
    world.results.write(
        InboxOrigin(result_key="acme/inbox/fox.json", sequencer="0055"), ended, first=False
    )
    world.receive("acme/fox.json")
    assert list(world.jobs.items) == [job.id]
    assert world.result("acme/inbox/fox.json") == {"status": "succeeded"}


def test_an_event_that_comes_again_after_its_job_was_deleted_does_nothing(world: World) -> None:
    world.drop("acme/fox.json", {"prompt": "a fox"})
    [job] = world.jobs.items.values()
    job = world.jobs.save(job.cancel(now=world.clock.time().now()))
    world.jobs.delete(job, now=world.clock.time().now())
    assert world.receive("acme/fox.json") is None
    assert not world.jobs.items


def test_a_result_of_an_earlier_upload_never_replaces_a_later_one(world: World) -> None:
    world.drop("acme/fox.json", {"prompt": "new"}, sequencer="0066")
    later = world.result("acme/inbox/fox.json")["id"]
    world.drop("acme/fox.json", {"prompt": "old"}, sequencer="0055")
    assert len(world.jobs.items) == 2
    assert world.result("acme/inbox/fox.json")["id"] == later


def test_a_request_may_start_from_an_upload(world: World) -> None:
    world.uploads.sent["acme", UPLOAD_ID] = jpeg(), NOON
    assert world.drop("acme/fox.json", {"prompt": "a fox", "init_image_id": UPLOAD_ID}) is None
    [image] = world.images.objects.values()
    assert image.data == jpeg()


@pytest.mark.parametrize("data", [None, b"GIF89a"])
def test_an_unusable_upload_is_a_precise_error(world: World, data: bytes | None) -> None:
    if data:
        world.uploads.sent["acme", UPLOAD_ID] = data, NOON
    request = {"prompt": "a fox", "init_image_id": UPLOAD_ID}
    rejected = world.drop("acme/fox.json", request)
    assert rejected
    result = world.result("acme/inbox/fox.json")
    assert result["code"] == rejected.code == "validation_error"
    assert [field_error["loc"] for field_error in result["detail"]] == [["body", "init_image_id"]]
    assert not world.jobs.items
    assert not world.queue.sent


def test_an_event_that_comes_again_after_its_upload_has_expired_is_the_same_job(
    world: World,
) -> None:
    world.uploads.sent["acme", UPLOAD_ID] = jpeg(), NOON
    world.drop("acme/fox.json", {"prompt": "a fox", "init_image_id": UPLOAD_ID})
    world.clock.advance(86_400)
    assert world.receive("acme/fox.json") is None
    assert len(world.jobs.items) == 1
    assert world.result("acme/inbox/fox.json")["status"] == "queued"


def test_a_file_that_was_replaced_is_left_to_its_own_event(world: World) -> None:
    world.files.files["acme/fox.json"] = None
    assert world.receive("acme/fox.json") is None
    assert not world.jobs.items
    assert not world.results.held


def test_no_job_is_created_before_its_result_is_written(world: World) -> None:
    world.results.error = StorageError("S3 is down.")
    with pytest.raises(StorageError):
        world.drop("acme/fox.json", {"prompt": "a fox"})
    assert not world.jobs.items
    world.results.error = None
    world.receive("acme/fox.json")
    assert len(world.jobs.items) == 1


@pytest.mark.parametrize(
    ("key", "answered"),
    [
        ("nobody/fox.json", "nobody/inbox/fox.json"),
        ("No Slug/fox.json", "_/inbox/No Slug/fox.json"),
        ("fox.json", "_/inbox/fox.json"),
        ("acme", "_/inbox/acme.json"),
    ],
)
def test_a_folder_of_no_client_gets_an_error(world: World, key: str, answered: str) -> None:
    world.drop(key, {"prompt": "x"})
    assert world.result(answered)["code"] == "not_found"
    assert not world.files.limits  # the file was not read


@pytest.mark.parametrize("name", ["cat.gif", "cat", "cat.png.txt"])
def test_a_file_of_another_kind_gets_an_error(world: World, name: str) -> None:
    world.drop(f"acme/{name}", b"x")
    [result] = world.results.held
    assert world.result(result)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("key", ["acme/", "acme/2026/11/", "acme//", "/", "nobody/", "x.json/"])
def test_a_folder_is_no_file(world: World, key: str) -> None:
    assert world.drop(key, b"a folder with bytes") is None
    assert not world.results.held
    assert not world.files.limits


def test_results_are_never_read_as_requests(world: World) -> None:
    with pytest.raises(ValueError, match="images bucket"):
        world.inbox.receive(InboxObject("images", "acme/inbox/fox.json", "e", "01"), seconds=60)
    assert not world.results.held


def test_metadata_of_tools_are_named_in_the_result_and_no_part_of_the_request(
    world: World,
) -> None:
    tools = {"mtime": "1764150000.123456789", "S3cmd-Attrs": "uid:0", "seed": "7"}
    assert world.drop("acme/cat.png", png(), METADATA | tools) is None
    [job] = world.jobs.items.values()
    assert (job.request.prompt, job.request.seed, job.request.metadata) == ("a fox", 7, {})
    assert world.result("acme/inbox/cat.json")["ignored"] == ["mtime", "s3cmd-attrs"]
    assert job_event(job, bucket="images").ignored == ["mtime", "s3cmd-attrs"]


@pytest.mark.parametrize(
    ("client_id", "code"), [("thrifty", "budget_exceeded"), ("hasty", "rate_limited")]
)
def test_a_file_that_exceeds_the_limits_gets_their_error(
    world: World, client_id: str, code: str
) -> None:
    world.drop(f"{client_id}/fox.json", {"prompt": "a fox"})
    rejected = world.drop(f"{client_id}/bear.json", {"prompt": "a bear"})
    assert rejected
    assert world.result(f"{client_id}/inbox/bear.json")["code"] == rejected.code == code
    assert len(world.jobs.items) == 1
    world.receive(f"{client_id}/fox.json")
    assert world.result(f"{client_id}/inbox/fox.json")["status"] == "queued"


@pytest.mark.parametrize("metadata", [None, {"prompt": "a fox", "dry-run": "true"}])
def test_a_dry_run_is_not_for_files(world: World, metadata: dict[str, str] | None) -> None:
    if metadata:
        rejected = world.drop("acme/fox.png", png(), metadata)
    else:
        rejected = world.drop("acme/fox.json", {"prompt": "a fox", "dry_run": True})
    assert isinstance(rejected, InvalidRequestError)
    assert rejected.field_errors[0].loc == ("body", "dry_run")
    assert not world.jobs.items


@pytest.mark.parametrize("metadata", [None, {"prompt": "a fox", "init-image-url": FETCHED}])
def test_a_file_has_nothing_fetched(world: World, metadata: dict[str, str] | None) -> None:
    world.source.images[FETCHED] = png()
    if metadata:
        rejected = world.drop("acme/fox.png", png(), metadata)
    else:
        rejected = world.drop("acme/fox.json", {"prompt": "a fox", "init_image_url": FETCHED})
    assert isinstance(rejected, InvalidRequestError)
    assert rejected.field_errors[0].loc == ("body", "init_image_url")
    assert not world.jobs.items


class Fault:
    """Raises an error at one of the points before and after each call of a port, once."""

    def __init__(self, error: BaseException, point: int) -> None:
        self.error, self.points_left = error, point

    def __call__(self, *, fault: bool = True) -> None:
        self.points_left -= 1
        if self.points_left == 0:
            raise self.error


FAULTS: Final = [StorageError("S3 is down."), RuntimeError("a bug"), Crash()]
FIRST: Final = InboxOrigin(result_key="acme/inbox/cat.json", sequencer="0055")


def interrupt(world: World, fault: Fault) -> None:
    """Put the fault between the inbox and all that it calls."""

    def interrupted(case: Any, *ports: str) -> dict[str, Any]:
        return {port: Between(getattr(case, port), fault) for port in ports}

    whole = world.inbox
    submission = replace(
        whole.submission,
        **interrupted(whole.submission, "jobs", "images", "queue", "generator", "metrics"),
    )
    ports = interrupted(whole, "clients", "files", "results")
    world.inbox = replace(whole, submission=submission, **ports)


def received_despite(
    world: World, error: BaseException, point: int, key: str, file: InboxFile
) -> bool:
    """Receive a file with a fault, and once more without; return whether the fault happened."""
    whole = world.inbox
    fault = Fault(error, point)
    world.files.files[key] = file
    interrupt(world, fault)
    try:
        world.receive(key)
    except (type(error), UnexpectedError):
        world.inbox = whole
        world.receive(key)
    assert whole is world.inbox or fault.points_left > 0, "a fault was swallowed"
    return fault.points_left <= 0


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_at_any_call_leads_to_the_same_job_once(error: BaseException) -> None:
    for point in count(1):
        world = World()
        file = InboxFile(png(), METADATA)
        happened = received_despite(world, error, point, "acme/cat.png", file)
        [job] = world.jobs.items.values()
        assert {sent for sent, _ in world.queue.sent} == {job.id}
        assert world.result("acme/inbox/cat.json")["id"] == job.id
        assert [usage.reserved for usage in world.jobs.ledger.values()] == [job.usage.reserved]
        assert list(world.images.objects) == [job.init_image_key]
        if not happened:
            break
    assert point > 15


@pytest.mark.parametrize("error", FAULTS, ids=repr)
@pytest.mark.parametrize(
    ("key", "data", "code"),
    [
        ("acme/fox.json", b'{"prompt": "a fox", "stepz": 30}', "validation_error"),
        ("nobody/fox.json", b'{"prompt": "a fox"}', "not_found"),
        ("poor/fox.json", b'{"prompt": "a fox"}', "budget_exceeded"),
    ],
)
def test_a_fault_at_any_call_leads_to_the_same_error(
    error: BaseException, key: str, data: bytes, code: str
) -> None:
    for point in count(1):
        world = World()
        happened = received_despite(world, error, point, key, InboxFile(data, {}))
        assert world.result(result_key(InboxObject("drop", key, "", "")))["code"] == code
        assert not world.jobs.items
        if not happened:
            break
    assert point > 4


@pytest.mark.parametrize("error", FAULTS, ids=repr)
def test_a_fault_never_replaces_the_result_of_a_job_that_has_ended(error: BaseException) -> None:
    for point in count(1):
        world = World()
        world.drop("acme/cat.png", png(), METADATA)
        world.results.write(FIRST, '{"status": "succeeded"}', first=False)
        file = InboxFile(png(), METADATA)
        happened = received_despite(world, error, point, "acme/cat.png", file)
        assert world.result("acme/inbox/cat.json") == {"status": "succeeded"}
        assert len(world.jobs.items) == 1
        if not happened:
            break
