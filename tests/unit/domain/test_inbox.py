"""Files of the inbox: the names of their results, and requests that are metadata."""

import base64
import re
import string
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sd3.domain import inbox
from sd3.domain.inbox import (
    InboxFile,
    InboxObject,
    InboxOrigin,
    InboxRequest,
    request_from,
    result_key,
)
from sd3.domain.request import GenerateRequest
from sd3.domain.request_checks import OTHER_MODELS_FIELDS, OTHER_MODELS_PREFIXES
from sd3.domain.webhook import WebhookRequest
from sd3.errors import InvalidRequestError
from sd3.responses.render import error_body
from tests.support.factories.images import png

IMAGE: Final = png()
METADATA: Final = {"prompt": "a fox"}
WEBHOOK: Final = WebhookRequest(url="https://hooks.example/7")


def read(**metadata: str) -> InboxRequest:
    """Read an image with a prompt and other metadata."""
    return request_from(InboxFile(IMAGE, METADATA | metadata))


# ---- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "result"),
    [
        ("acme/fox.json", "acme/inbox/fox.json"),
        ("acme/my cat+dog.v2.png", "acme/inbox/my cat+dog.v2.json"),
        ("acme/füchse/狐.webp", "acme/inbox/füchse/狐.json"),
        ("acme/inbox/fox.json", "acme/inbox/inbox/fox.json"),
        ("acme/foxes.jsonl", "acme/inbox/foxes.json"),
        (f"acme/{'x' * 1007}.jsonl", f"acme/inbox/{'x' * 1007}.json"),
        ("inbox/fox.json", "inbox/inbox/fox.json"),
        ("acme/v1.2/fox", "acme/inbox/v1.2/fox.json"),
        ("acme/.json", "acme/inbox/.json.json"),
        ("acme//fox.json", "acme/inbox/fox.json"),
        ("acme/a//b///fox.json", "acme/inbox/a/b/fox.json"),
        ("acme/...", "acme/inbox/...json"),
        ("acme/%2e%2e/&?#.json", "acme/inbox/%2e%2e/&?#.json"),
        ("fox.json", "_/inbox/fox.json"),
        ("acme", "_/inbox/acme.json"),
        ("/acme/fox.json", "_/inbox/acme/fox.json"),
        ("//fox.json", "_/inbox/fox.json"),
        ("ACME/fox.json", "_/inbox/ACME/fox.json"),
        ("_uploads/acme/fox.json", "_/inbox/_uploads/acme/fox.json"),
        (".acme/fox.json", "_/inbox/.acme/fox.json"),
    ],
)
def test_a_result_has_the_name_of_its_file(key: str, result: str) -> None:
    assert result_key(InboxObject("drop", key, "", "")) == result


@pytest.mark.parametrize(
    ("key", "folder"),
    [
        (f"acme/{'x' * 1014}.json", "acme/inbox"),
        (f"acme/{'x' * 1008}.jsonl", "acme/inbox"),
        (f"{'x' * 1019}.json", "_/inbox"),
        ("acme/../bob/fox.json", "acme/inbox"),
        ("acme/./fox.json", "acme/inbox"),
        ("../fox.json", "_/inbox"),
        ("acme/a\nb.json", "acme/inbox"),
        ("acme/\0/fox.json", "acme/inbox"),
        ("\x7f.json", "_/inbox"),
    ],
)
def test_a_result_whose_name_s3_would_refuse_is_named_by_the_job(key: str, folder: str) -> None:
    upload = InboxObject("drop", key, "", "")
    assert result_key(upload) == f"{folder}/{upload.job_id}.json"


@given(st.text(max_size=1024).filter(lambda key: key.strip("/")))
@example("../bob/fox.json")
@example("%2e%2e/bob/fox.json")
@example("/fox.json")
@example("x\0\n/fox.json")
@example("狐" * 341)
def test_a_result_stays_in_its_folder_and_can_be_written(name: str) -> None:
    for key, folder in ((f"acme/{name}", "acme/inbox/"), (f"/{name}", "_/inbox/")):
        result = result_key(InboxObject("drop", key, "", ""))
        assert result.startswith(folder)
        assert not {"", ".", ".."} & {*result.split("/")}
        assert not re.search(r"[\x00-\x1f\x7f]", result)
        assert len(result.encode()) <= 1024


# ---- Metadata ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        {"mtime": "1764150000.123456789", "md5chksum": "XUFAKrxLKna5cZ2REBfFkg=="},
        {"mtime": "2026-11-26T09:40:00Z", "atime": "x", "btime": "x", "uid": "0", "gid": "0"},
        {"s3cmd-attrs": "atime:1/gid:0/mode:33188/mtime:1/uid:0"},
        {"file-permissions": "0100664", "file-owner": "500", "file-group": "500"},
        {"file-mtime": "1595002920000ns", "file-atime": "1ns", "user-agent": "aws-fsx-lustre"},
        {"user-agent": "AWSTransfer", "user-agent-id": "jack@s-e0ab9e15d62a4982a"},
        {"uid": "1000", "gid": "1000", "mode": "33188", "ctime": "1", "xattr": "%7B%7D"},
        {"md5": "900150983cd24fb0d6963f7d28e17f72", "privilege": "644"},
        {"mc-attrs": "atime:1591920848/uid:0", "mm-source-mtime": "2026-11-26T09:40:00Z"},
        {"s3b-last-modified": "20250124T001124Z", "sha256": "c61c3b"},
        {"cb-modifiedtime": "Thu, 17 Apr 2025 11:27:08 GMT"},
        {"usid": "S-1-5-21", "gsid": "S-1-5-21", "sddl": "O:BAG:BA", "un": "a", "gn": "b"},
        {"goog-reserved-file-mtime": "1764150000", "goog-reserved-posix-uid": "0"},
        {"jets3t-original-file-date-iso8601": "2026-11-26T09:40:00.000Z", "md5-hash": "x"},
    ],
)  # fmt: skip
def test_metadata_of_tools_that_copy_files_is_passed_over(metadata: dict[str, str]) -> None:
    request, ignored = read(steps="20", **metadata)
    assert (request.prompt, request.steps) == ("a fox", 20)
    assert ignored == tuple(sorted(metadata))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "[1]", [1]),
        ("strength", "0.5", 0.5),
        ("embed-parameters", "true", True),
        ("webhook", WEBHOOK.model_dump_json(), WEBHOOK),
        ("init-image-fit", "contain", "contain"),
        ("placeholder", "thumbhash", "thumbhash"),
        ("log-prompt", "false", False),
    ],
)
def test_a_field_of_any_type_can_be_metadata(name: str, text: str, value: object) -> None:
    assert getattr(read(**{name: text}).request, name.replace("-", "_")) == value


@pytest.mark.parametrize(
    "name",
    ["stepz", "step", "promt", "negative-promt", "num-image", "seeds", "with", "file-steps",
     "mtime-steps", "x-amz-key-v2", "s3tools-gpgenc", "s3cmd", "loras", "controlnet"],
)  # fmt: skip
def test_any_other_name_is_an_error_that_names_it(name: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(mtime="1764150000", **{name: "30"})
    assert [error.loc for error in caught.value.field_errors] == [("body", name.replace("-", "_"))]


def edits(name: str) -> set[str]:
    """Make all names that one typing error makes of a name."""
    letters = string.ascii_lowercase + string.digits + "-_"
    cuts = [(name[:at], name[at:]) for at in range(len(name) + 1)]
    return {
        *(left + right[1:] for left, right in cuts if right),
        *(left + letter + right for left, right in cuts for letter in letters),
        *(left + letter + right[1:] for left, right in cuts if right for letter in letters),
        *(left + right[1] + right[0] + right[2:] for left, right in cuts if len(right) > 1),
    }


def test_no_field_that_is_misspelt_twice_is_passed_over() -> None:
    fields = {*GenerateRequest.model_fields, *OTHER_MODELS_FIELDS, *OTHER_MODELS_PREFIXES}
    spelt = {field.replace("_", "-") for field in fields} | fields
    once = {name for field in spelt for name in {field} | edits(field)}
    tools = {name for tool in inbox._TOOLS_METADATA for name in {tool} | edits(tool)}
    assert not once & tools
    assert not [name for name in once if name.startswith(inbox._TOOLS_PREFIXES)]


def test_names_of_tools_that_differ_as_ours_may_are_no_field_twice() -> None:
    assert read(**{"file-mtime": "1", "user-agent": "x"}).ignored_metadata


@pytest.mark.parametrize(
    ("encoded", "meant"),
    [
        ("=?UTF-8?Q?ein_F=C3=BCchslein?=", "ein Füchslein"),
        ("=?UTF-8?B?54uQ?= =?UTF-8?B?54uQ?=", "狐狐"),
        ("a =?utf-8?q?f=C3=BCchs?= at =?dawn", "a füchs at =?dawn"),
        ("no =?code, a\\u00fc%20+", "no =?code, a\\u00fc%20+"),
        ("=?ISO-8859-1?Q?F=FCchslein?=", "Füchslein"),
        ("=?windows-1252?Q?=80?=", "€"),
        ("=?ISO-2022-JP?B?GyRCOFEbKEI=?=", "狐"),
    ],
)
def test_metadata_that_is_not_ascii_is_decoded_as_mail_encodes_it(encoded: str, meant: str) -> None:
    assert read(prompt=encoded).request.prompt == meant


@pytest.mark.parametrize("name", ["prompt", "steps", "metadata"])
@pytest.mark.parametrize(
    "encoded",
    [
        "=?UTF-8?Q?=FF?=",
        "=?martian?Q?x?=",
        "=?iso-8859-12?Q?x?=",
        "=?UTF-8?B?a?=",
        "=?utf-7?q?+2AA-?=",
        "=?unicode_escape?q?=5Cud800?=",
        "=?raw_unicode_escape?q?=5Cud800?=",
        "=?utf-16?b?ANg=?=",
        "=?idna?q?xn--?=",
        "=?rot13?q?x?=",
        "=?hex?q?00?=",
        "=?zlib?q?x?=",
    ],
)
def test_metadata_in_no_charset_of_mail_is_an_error(name: str, encoded: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(**{name: encoded})
    [error] = caught.value.field_errors
    assert (error.loc, error.type) == (("body", name), "encoding")


ENCODED: Final = st.builds(
    "=?{}?{}?{}?=".format,
    st.sampled_from(
        ["utf-8", "us-ascii", "iso-8859-7", "windows-1258", "koi8-r", "gb2312", "gbk", "gb18030",
         "big5", "euc-jp", "euc-kr", "iso-2022-jp", "shift_jis", "utf-7", "utf-16", "utf8",
         "unicode_escape", "idna", "punycode", "cp65001", "mbcs", "bz2", "\0", "a" * 200]
    ),
    st.sampled_from("bBqQ"),
    st.binary(max_size=30).map(lambda data: base64.b64encode(data).decode())
    | st.text("=0123456789ABCDEF_?+ ", max_size=30),
)  # fmt: skip
NAMES: Final = st.sampled_from([*GenerateRequest.model_fields, "mtime", "stepz"]) | st.text()
ANY_TEXT: Final = (
    st.text(st.characters(codec=None)) | ENCODED | st.sampled_from(["\ud800", "1e999"])
)


@given(st.dictionaries(NAMES, ANY_TEXT | st.builds(str.__add__, ENCODED, ENCODED), max_size=6))
@example({"steps": "\ud800"})
@example({"\ud800": "1"})
@example({"prompt": "\ud800"})
@example({"metadata": '{"a": "=?utf-8?q?=ED=A0=80?="}'})
@example({"seed": "1" * 5000})
def test_any_metadata_is_a_request_or_an_error_that_can_be_written(
    metadata: dict[str, str],
) -> None:
    try:
        read = request_from(InboxFile(IMAGE, METADATA | metadata))
    except InvalidRequestError as error:
        answer: str = error_body(error, request_id="x").model_dump_json()
    else:
        origin = InboxOrigin(result_key="x", sequencer="1", ignored_metadata=read.ignored_metadata)
        answer = origin.model_dump_json() + read.request.model_dump_json()
    assert answer.encode()
