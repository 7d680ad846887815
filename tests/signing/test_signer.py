"""The signer of images, judged by C2PA's own reader."""

from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from typing import Any, cast

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from PIL import Image

from sd3.adapters.c2pa import C2paSigner
from sd3.domain.c2pa_manifest import without_manifest
from sd3.domain.image_formats import read_format
from sd3.domain.provenance import COMPOSITE, TRAINED, Facts, packet_of
from sd3.domain.xmp import embed, read_marks, strip
from tests.support.c2pa_reader import Manifest
from tests.support.factories.images import image
from tests.support.factories.signing_certificates import CLAIMS, Issued, issued, root, secret

FACTS = Facts(
    job_id="a-job",
    index=0,
    client_id="a-client",
    seed=7,
    created_at=datetime(2026, 11, 27, tzinfo=UTC),
    source_type=TRAINED,
    upstream="stability",
    model="sd3.5-large",
    prompt="a secret prompt",
)


class SecretsManager:
    """One secret, which can be rewritten or fail."""

    def __init__(self, text: str) -> None:
        self.text: str | Exception = text
        self.reads = 0

    def get_secret_value(self, **_: Any) -> dict[str, str]:
        self.reads += 1
        if isinstance(self.text, Exception):
            raise self.text
        return {"SecretString": self.text}


class Signing:
    """A signer, its secret, and its clock."""

    def __init__(self, text: str) -> None:
        self.now = 0.0
        self.secrets = SecretsManager(text)
        self.signer = C2paSigner(lambda: cast("Any", self.secrets), "arn", clock=lambda: self.now)

    def sign(self, data: bytes, content_type: str = "image/png", facts: Facts = FACTS) -> bytes:
        return self.signer.sign(data, content_type, facts)


@pytest.fixture(scope="module")
def leaf() -> Issued:
    return issued(root())


@pytest.fixture
def signing(leaf: Issued) -> Signing:
    return Signing(secret(leaf))


FILES = {
    "jpeg": image(kind="jpeg"),
    "progressive jpeg": image(kind="jpeg", progressive=True),
    "png": image(kind="png"),
    "webp": image(kind="webp"),
    "lossless webp": image(kind="webp", mode="RGBA", lossless=True),
    "odd webp": image(65, 63, kind="webp"),
}


def marked(name: str, *, parameters: str = "") -> tuple[bytes, str]:
    data = FILES[name]
    content_type, _, _ = read_format(data)
    packet = packet_of(FACTS, data, b"secret")
    return embed(data, content_type, packet, parameters=parameters), content_type


@pytest.mark.parametrize("parameters", ["", "a cat\nSteps: 30"])
@pytest.mark.parametrize("name", FILES)
def test_a_signed_file_is_the_marked_one_and_a_valid_manifest(
    signing: Signing, name: str, parameters: str
) -> None:
    before, content_type = marked(name, parameters=parameters)
    after = signing.sign(before, content_type)
    assert Manifest.read(after, content_type)[:2] == ("Valid", ["signingCredential.untrusted"])
    assert Manifest.read(after, content_type, trusted=root())[:2] == ("Trusted", [])
    assert without_manifest(after, content_type) == before
    assert strip(after, content_type) == FILES[name]
    assert read_marks(after, content_type) == read_marks(before, content_type)._replace(
        has_c2pa=True
    )
    assert read_format(after) == read_format(before)
    assert pixels(after) == pixels(before)
    assert len(after) - len(before) < 4000  # no thumbnail


def pixels(data: bytes) -> bytes:
    with Image.open(BytesIO(data)) as opened:
        return opened.tobytes()


def test_the_manifest_says_what_made_the_image_and_no_prompt(signing: Signing) -> None:
    signed = signing.sign(FILES["png"], facts=replace(FACTS, source_type=COMPOSITE))
    content = Manifest.read(signed, "image/png").content
    [made_by] = content["claim_generator_info"]
    assert made_by.items() >= {"name": "sd3-image-service", "version": "0.1.0"}.items()
    [assertion] = content["assertions"]
    assert assertion["created"] is True
    assert assertion["data"]["actions"] == [
        {
            "action": "c2pa.created",
            "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
            "compositeWithTrainedAlgorithmicMedia",
            "softwareAgent": {"name": "stability", "version": "sd3.5-large"},
        }
    ]
    assert b"a secret prompt" not in signed
    assert not content.keys() & {"thumbnail", "title", "ingredients"}


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["P-384", "P-521", "Ed25519", "RSA"],
)
def test_every_kind_of_key_signs(key: Any) -> None:
    between = issued(root(), name="intermediate")
    signed = Signing(secret(issued(between, key), between)).sign(FILES["png"])
    assert Manifest.read(signed, "image/png", trusted=root()).state == "Trusted"


def test_a_certificate_of_c2pas_own_trust_list_signs() -> None:
    """c2pa refuses its purpose by default, also when it verifies what it has signed itself."""
    signed = Signing(secret(issued(root(), usages=(CLAIMS,)))).sign(FILES["png"])
    assert read_marks(signed, "image/png").has_c2pa


@pytest.mark.parametrize("days", [(-20, -1), (1, 20)], ids=["expired", "not yet valid"])
def test_a_certificate_signs_within_its_time_only(days: tuple[int, int]) -> None:
    with pytest.raises(Exception, match="not valid at time of signing"):
        Signing(secret(issued(root(), days=days))).sign(FILES["png"])


def test_a_secret_that_cannot_sign_is_read_again_after_a_minute(leaf: Issued) -> None:
    signing = Signing("sk-1")
    for _ in range(2):
        with pytest.raises(ValueError, match="not JSON"):
            signing.sign(FILES["png"])
    signing.secrets.text, signing.now = secret(leaf), 61
    assert Manifest.read(signing.sign(FILES["png"]), "image/png").state == "Valid"
    assert signing.secrets.reads == 2


def test_a_renewed_certificate_signs_within_an_hour(signing: Signing) -> None:
    signing.sign(FILES["png"])
    signing.secrets.text, signing.now = secret(renewed := issued(root())), 3599
    assert serial(signing) != renewed.certificate.serial_number
    signing.now = 3601
    assert serial(signing) == renewed.certificate.serial_number


def serial(signing: Signing) -> int:
    content = Manifest.read(signing.sign(FILES["png"]), "image/png").content
    return int(content["signature_info"]["cert_serial_number"])


def test_a_key_goes_on_signing_where_the_secret_cannot_be_read_again(signing: Signing) -> None:
    signing.sign(FILES["png"])
    signing.secrets.text, signing.now = OSError("no network"), 3601
    assert Manifest.read(signing.sign(FILES["png"]), "image/png").state == "Valid"


@pytest.mark.parametrize(("days", "warns"), [(29, True), (31, False)])
def test_the_log_says_a_month_before_that_a_certificate_ends(
    days: int, warns: bool, caplog: pytest.LogCaptureFixture
) -> None:
    Signing(secret(issued(root(), days=(-1, days)))).sign(FILES["png"])
    assert ("ends soon" in caplog.text) == warns
