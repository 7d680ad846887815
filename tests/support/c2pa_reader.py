"""What C2PA's own reader finds in a file. Only `make test-signing` has the package."""

import json
from io import BytesIO
from typing import Any, NamedTuple, Self

from tests.support.factories.signing_certificates import Issued


class Manifest(NamedTuple):
    """The manifest of a file."""

    state: str
    """Valid, or Trusted if its root is trusted, or Invalid."""
    problems: list[str]
    content: dict[str, Any]

    @classmethod
    def read(cls, data: bytes, content_type: str, *, trusted: Issued | None = None) -> Self:
        """Read a file, with a root that is trusted or with none."""
        from c2pa import Context, Reader  # noqa: PLC0415

        anchors = {"trust": {"trust_anchors": trusted.pem}} if trusted else {}
        with Reader(content_type, BytesIO(data), context=Context.from_dict(anchors)) as reader:
            found = json.loads(reader.json())
        problems = [each["code"] for each in found.get("validation_status", [])]
        [content] = found["manifests"].values()
        return cls(found["validation_state"], problems, content)
