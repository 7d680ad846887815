"""The packet that an image carries, and the mark by which it is told from a forged one."""

import hashlib
import tomllib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st

from sd3.domain.provenance import (
    CREATOR_TOOL,
    SOURCE_TYPES,
    TRAINED,
    Facts,
    Mark,
    packet_of,
    source_type_in,
)
from sd3.domain.xmp import NAMESPACE
from tests.support.factories.template import ROOT

SECRET, OTHER = b"one secret", b"another one"
FILE = b"the bytes of a file"
NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"


def facts(**changed: Any) -> Facts:
    values: dict[str, Any] = {
        "job_id": "job-1",
        "index": 3,
        "client_id": "ann",
        "seed": 7,
        "created_at": NOON,
    }
    return Facts(**values | {"source_type": TRAINED} | changed)


def packet(*, secret: bytes | None = SECRET, **changed: Any) -> bytes:
    return packet_of(facts(**changed), FILE, secret)


def mark(**changed: Any) -> Mark:
    found = Mark.read(packet(**changed))
    assert found
    return found


def properties(data: bytes) -> dict[str, str]:
    """Read a packet with an XML parser."""
    [description] = fromstring(data).iter(f"{{{RDF}}}Description")
    return dict(description.attrib)


def test_the_packet_says_what_made_the_image_and_when() -> None:
    summer = timezone(timedelta(hours=2))
    made = NOON.astimezone(summer)
    found = properties(packet(upstream="stability", model="sd3.5-large", created_at=made))
    assert found == found | {
        f"{{{IPTC}}}DigitalSourceType": f"{SOURCE_TYPES}trainedAlgorithmicMedia",
        f"{{{IPTC}}}AISystemUsed": "stability",
        f"{{{IPTC}}}AISystemVersionUsed": "sd3.5-large",
        "{http://ns.adobe.com/xap/1.0/}CreatorTool": CREATOR_TOOL,
        "{http://ns.adobe.com/xap/1.0/}CreateDate": "2026-11-27T12:00:00Z",
        f"{{{NAMESPACE}}}original": hashlib.sha256(FILE).hexdigest(),
    }
    assert f"{{{IPTC}}}AIPromptInformation" not in found
    assert found["{http://ns.adobe.com/xap/1.0/mm/}DocumentID"].startswith("urn:uuid:")


def test_each_image_has_an_id_of_its_own_and_the_same_one_again() -> None:
    def document(index: int) -> str:
        return properties(packet(index=index))["{http://ns.adobe.com/xap/1.0/mm/}DocumentID"]

    assert document(1) == document(1) != document(2)


@given(st.text(max_size=300))
def test_any_prompt_stays_one_property(prompt: str) -> None:
    """Whatever it has of quotes, tags and control characters, it forges no other property."""
    text = prompt.encode("utf-8", "replace").decode()
    found = properties(packet(prompt=text))
    assert len(found.get(f"{{{IPTC}}}AIPromptInformation", "")) == len(text)
    assert Mark.read(packet(prompt=text)) == mark()


def test_a_prompt_of_the_most_characters_fits_into_a_jpeg() -> None:
    for letter in ('"', "&", "\N{FOX FACE}"):
        assert len(packet(prompt=letter * 10_000)) < 65_000


def test_a_prompt_forges_no_mark() -> None:
    forged = packet(secret=OTHER).decode()
    assert Mark.read(packet(prompt=forged)) == mark()


def test_a_mark_is_verified_by_the_secret_that_signed_it() -> None:
    assert mark().is_signed_by([SECRET])
    assert mark().is_signed_by([OTHER, SECRET])
    assert not mark().is_signed_by([OTHER])
    assert not mark().is_signed_by([])
    assert Mark.read(packet(secret=None)) is None


@pytest.mark.parametrize("name", ["original", "job", "index", "seed", "type", "owner", "mark"])
def test_a_mark_of_which_anything_was_changed_is_not_ours(name: str) -> None:
    value = properties(packet())[f"{{{NAMESPACE}}}{name}"]
    changed = packet().replace(f'sd3:{name}="{value}"'.encode(), f'sd3:{name}="{value}1"'.encode())
    found = Mark.read(changed)
    assert found
    assert not found.is_signed_by([SECRET])


def test_a_client_knows_its_own_images_and_nobody_can_tell_that_two_are_of_one() -> None:
    assert mark().is_of("ann", [SECRET])
    assert not mark().is_of("bob", [SECRET])
    assert not mark().is_of("ann", [OTHER])
    assert mark(job_id="job-2").owner != mark(job_id="job-1").owner


def test_a_mark_is_read_as_other_programs_write_it_again() -> None:
    """They make elements of attributes."""
    found = mark()
    rewritten = "".join(
        f"<sd3:{name}>{value}</sd3:{name}>"
        for name, value in (
            ("original", found.original), ("job", "job-1"), ("index", "3"), ("seed", "7"),
            ("type", found.source_type), ("owner", found.owner), ("mark", found.signature),
        )
    )  # fmt: skip
    assert Mark.read(rewritten.encode()) == found


@given(st.binary(max_size=400))
def test_any_bytes_can_be_asked_for_a_mark(data: bytes) -> None:
    found = Mark.read(data)
    assert found is None or not found.is_signed_by([SECRET])
    source_type_in(data)


def test_the_source_type_is_found_in_any_packet() -> None:
    assert source_type_in(packet()) == f"{SOURCE_TYPES}trainedAlgorithmicMedia"
    assert source_type_in(b"<Iptc4xmpExt:DigitalSourceType>x</") == "x"
    assert source_type_in(b"<x/>") is None


def test_the_creator_tool_has_the_version_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"{project['name']} {project['version']}" == CREATOR_TOOL
