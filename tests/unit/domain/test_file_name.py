"""The names under which images are saved: which are refused, and how they are told to clients."""

from email.message import Message

import pytest
from pydantic_core import PydanticCustomError

from sd3.domain.file_name import check_name, content_disposition


@pytest.mark.parametrize(
    "name",
    ["../fox", "a/b", "a\\b", "C:fox", ".fox", "fox.", "..", ".", " fox", "fox ", "", '"fox"',
     "a\nb", "a\r\nSet-Cookie: x", "a\0b", "a\x7fb", "fox\u202egpj", "\ud800", "a*", "<fox>",
     "con", "NUL.jpg", "com1", "a|b", "a?b"],
)  # fmt: skip
def test_a_name_that_is_unsafe_somewhere_is_refused(name: str) -> None:
    with pytest.raises(PydanticCustomError):
        check_name(name)


@pytest.mark.parametrize(
    ("name", "content_type", "saved"),
    [
        ("fox.jpg", "image/jpeg", "fox.jpg"),
        ("Fox.JPEG", "image/jpeg", "Fox.JPEG"),
        ("fox", "image/avif", "fox.avif"),
        ("fox.png", "image/webp", "fox.webp"),
        ("fox.v2", "image/png", "fox.v2.png"),
        ("fox.exe", "image/jpeg", "fox.exe.jpg"),
        ("100% fox; a=b, c", "image/png", "100% fox; a=b, c.png"),
        ("f\u00fcchse \u72d0 \U0001f98a", "image/png", "f\u00fcchse \u72d0 \U0001f98a.png"),
    ],
)
def test_a_file_is_saved_by_its_name_with_the_extension_of_its_type(
    name: str, content_type: str, saved: str
) -> None:
    header = content_disposition(check_name(name), content_type)
    assert header.isascii()
    message = Message()
    message["Content-Disposition"] = header.replace("filename=", "plain=")
    assert (message.get_content_disposition(), message.get_filename()) == ("attachment", saved)


def test_a_client_that_knows_no_filename_star_gets_a_name_in_ascii() -> None:
    header = content_disposition("f\u00fcchse 100%.jpg", "image/jpeg")
    assert 'filename="f_chse 100_.jpg"' in header
