"""The secret of C2paSecretArn, right and wrong: a key, its certificate, and who issued it."""

import datetime as dt
import json
from functools import cache
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

EMAIL: Final = ExtendedKeyUsageOID.EMAIL_PROTECTION
CLAIMS: Final = x509.ObjectIdentifier("1.3.6.1.4.1.62558.2.1")
"""C2PA's own extended key usage."""

DAY: Final = dt.timedelta(days=1)


class Issued(NamedTuple):
    """A key and a certificate of it."""

    key: Any
    certificate: x509.Certificate

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def issued(
    issuer: Issued | None,
    key: Any = None,
    *,
    name: str = "signer",
    usages: tuple[x509.ObjectIdentifier, ...] = (EMAIL,),
    days: tuple[int, int] = (-1, 90),
) -> Issued:
    """Issue a certificate; without an issuer, a root's."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer.key if issuer else key
    is_ca = issuer is None or name == "intermediate"
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer.certificate.subject if issuer else _name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(_key_usage(is_ca=is_ca), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
    )
    if usages and not is_ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    return Issued(key, builder.sign(signer, hashes.SHA256()))


@cache
def root() -> Issued:
    """Make the root, which nobody trusts but the tests."""
    return issued(None, name="root", days=(-100, 100))


def key_pem(key: Any, *, form: PrivateFormat = PrivateFormat.PKCS8, password: bytes = b"") -> str:
    """Write a private key."""
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    pem: bytes = key.private_bytes(Encoding.PEM, form, encryption)
    return pem.decode()


def secret(*chain: Issued, key: Any = None, **pem: Any) -> str:
    """Write the secret of a chain, signed by the key of its first certificate or by another."""
    values = {
        "certificates": "".join(one.pem for one in chain),
        "private_key": key_pem(key or chain[0].key),
    }
    return json.dumps(values | pem)


def _name(name: str) -> x509.Name:
    organization = x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "Example")
    return x509.Name([organization, x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _key_usage(*, is_ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
