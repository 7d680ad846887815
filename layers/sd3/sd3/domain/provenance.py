"""What an image says of its origin: the facts, as an XMP packet, and the mark that signs them.

The mark is `HMAC-SHA256(key, message)`. The key is `HMAC-SHA256(master secret, "sd3 mark 1")`, and
the message is these lines, joined by line feeds: the SHA-256 of the file before the packet, the
job's id, the image's index, its seed, the end of its DigitalSourceType, and the owner. The owner is
`HMAC-SHA256(key, "owner\n{client}\n{job}")`, its first 32 digits: it tells a client its own images,
and nobody else which images are of one client. All of these are in the packet, in hexadecimal
digits, as properties of NAMESPACE. So one needs the secret alone, and no table, to tell whether a
packet is ours, and whether the file around it still is: that is, whether `strip` of it has the
SHA-256 that was signed. The first key signs, and any of the keys verifies.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Self
from uuid import UUID

from sd3.domain.xmp import NAMESPACE

CREATOR_TOOL: Final = "sd3-image-service 0.1.0"


class Mode(StrEnum):
    """What the files of a deployment say of their origin."""

    NONE = "none"
    BASIC = "basic"
    """That they are AI-made, by whom and when, and which image of which job they are."""
    FULL = "full"
    """Also the prompt and the other parameters."""


SOURCE_TYPES: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED: Final = "trainedAlgorithmicMedia"
COMPOSITE: Final = "compositeWithTrainedAlgorithmicMedia"
ALGORITHMIC: Final = "algorithmicMedia"

_ESCAPES: Final = {
    **dict.fromkeys(
        (*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF), "\N{REPLACEMENT CHARACTER}"
    ),
    **{ord(letter): f"&#{ord(letter)};" for letter in "&<>\"'\t\n\r"},
}
"""XML has no way to write the first ones, and would read the last ones as something else."""

_PACKET: Final = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""'
    ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
    f' xmlns:sd3="{NAMESPACE}"{{}}/></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
)

_PROPERTY: Final = re.compile(
    r"(?<!/)(sd3|Iptc4xmpExt):([A-Za-z]{1,64})(?:\s*=\s*[\"']|>)([^\"'<>]{0,200})"
)
"""A property as an attribute, as we write it, or as an element, as other programs rewrite it."""


_SIGNED: Final = ("original", "job", "index", "seed", "type", "owner")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of one image."""

    job_id: str
    index: int
    client_id: str
    seed: int
    created_at: datetime
    """When the job was made. So a second attempt that gets the same image makes the same file."""
    source_type: str
    """The last part of the DigitalSourceType's URL."""
    upstream: str | None = None
    model: str | None = None
    prompt: str | None = None
    """None where the prompt is to stay out of the file."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The signed part of a packet, as the packet has it. Every field is text from outside."""

    original: str
    job: str
    index: str
    seed: str
    source_type: str
    owner: str
    signature: str

    @classmethod
    def read(cls, packet: bytes) -> Self | None:
        """Find the mark in a packet, or return None if it has none of our form."""
        text = packet.decode(errors="replace")
        found = {f"{one[1]}:{one[2]}": one[3] for one in _PROPERTY.finditer(text)}
        values = [found.get(f"sd3:{name}", "") for name in (*_SIGNED, "mark")]
        return cls(*values) if all(values) else None

    def is_signed_by(self, secrets: Iterable[bytes]) -> bool:
        """Return whether one of the secrets has made the signature."""
        signatures = (_signature(_key(secret), astuple(self)[:-1]) for secret in secrets)
        return any(_are_equal(one, self.signature) for one in signatures)

    def is_of(self, client_id: str, secrets: Iterable[bytes]) -> bool:
        """Return whether the image was made for a client, of a mark that is signed."""
        owners = (_owner(_key(secret), client_id, self.job) for secret in secrets)
        return any(_are_equal(one, self.owner) for one in owners)


def source_type_in(packet: bytes) -> str | None:
    """Return the DigitalSourceType of any packet, as it stands there; None if it has none."""
    for one in _PROPERTY.finditer(packet.decode(errors="replace")):
        if one[1] == "Iptc4xmpExt" and one[2] == "DigitalSourceType":
            return one[3].strip()
    return None


def packet_of(facts: Facts, original: bytes, secret: bytes | None) -> bytes:
    """Write the packet of an image whose `original` file is given; without a secret, unsigned."""
    document = hashlib.sha256(f"{facts.job_id}\n{facts.index}".encode()).digest()[:16]
    created = facts.created_at.astimezone(UTC).isoformat(timespec="seconds")
    properties = {
        "Iptc4xmpExt:DigitalSourceType": SOURCE_TYPES + facts.source_type,
        "Iptc4xmpExt:AISystemUsed": facts.upstream,
        "Iptc4xmpExt:AISystemVersionUsed": facts.model,
        "Iptc4xmpExt:AIPromptInformation": facts.prompt,
        "xmp:CreatorTool": CREATOR_TOOL,
        "xmp:CreateDate": created.replace("+00:00", "Z"),
        "xmpMM:DocumentID": UUID(bytes=document, version=5).urn,
        "sd3:original": hashlib.sha256(original).hexdigest(),
        "sd3:job": facts.job_id,
        "sd3:index": str(facts.index),
        "sd3:seed": str(facts.seed),
        "sd3:type": facts.source_type,
    }
    if secret:
        key = _key(secret)
        properties["sd3:owner"] = _owner(key, facts.client_id, facts.job_id)
        properties["sd3:mark"] = _signature(
            key, (properties[f"sd3:{one}"] or "" for one in _SIGNED)
        )
    attributes = (
        f' {name}="{value.translate(_ESCAPES)}"' for name, value in properties.items() if value
    )
    return _PACKET.format("".join(attributes)).encode()


def _key(secret: bytes) -> bytes:
    return hmac.digest(secret, b"sd3 mark 1", "sha256")


def _owner(key: bytes, client_id: str, job_id: str) -> str:
    return hmac.digest(key, f"owner\n{client_id}\n{job_id}".encode(), "sha256").hex()[:32]


def _signature(key: bytes, lines: Iterable[str]) -> str:
    return hmac.digest(key, "\n".join(lines).encode(), "sha256").hex()


def _are_equal(computed: str, claimed: str) -> bool:
    return hmac.compare_digest(computed.encode(), claimed.encode())
