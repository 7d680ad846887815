"""The certificates and the private key that images are signed with, as their secret has them."""

from datetime import datetime
from itertools import pairwise
from typing import Final, NamedTuple, Self

import pydantic_core
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

PURPOSES: Final = (
    "1.3.6.1.5.5.7.3.4",  # emailProtection
    "1.3.6.1.5.5.7.3.36",  # documentSigning
    "1.3.6.1.4.1.62558.2.1",  # c2pa-kp-claimSigning, of the certificates in C2PA's own trust list
)
"""The extended key usages, of which a certificate that signs images has one."""

_CURVES: Final = {"secp256r1": "es256", "secp384r1": "es384", "secp521r1": "es512"}

_LEAST_RSA_BITS: Final = 2048


class SigningCertificate(NamedTuple):
    """A private key, and its certificate with those that issued it."""

    algorithm: str
    """C2PA's name of the algorithm, which follows from the key."""
    certificates: str
    """PEM: the key's own certificate first, and each one's issuer behind it."""
    private_key: str
    """PEM in PKCS #8, which is all that c2pa reads."""
    valid_from: datetime
    valid_until: datetime

    @classmethod
    def from_secret(cls, text: str) -> Self:
        """Read `{"certificates": PEM, "private_key": PEM}`.

        Raises ValueError, whose message says what is wrong and has nothing of the secret.
        """
        chain = _certificates(_text_of(text, "certificates"))
        key = _private_key(_text_of(text, "private_key"))
        own = chain[0]
        if own.public_key() != key.public_key():
            raise ValueError("its private_key is not the key of its first certificate")
        _check_purpose(own)
        for one, issuer in pairwise(chain):
            _check_issuer(one, issuer)
        return cls(
            _algorithm(key),
            "".join(one.public_bytes(Encoding.PEM).decode() for one in chain),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            own.not_valid_before_utc,
            own.not_valid_after_utc,
        )


def _text_of(secret: str, field: str) -> bytes:
    try:
        values = pydantic_core.from_json(secret)
    except ValueError:
        raise ValueError("it is not JSON") from None
    value = values.get(field) if isinstance(values, dict) else None
    if not isinstance(value, str):
        msg = f"it has no text {field}"
        raise ValueError(msg)  # noqa: TRY004 - whoever wrote the secret is told, and no bug
    return value.encode()


def _certificates(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise ValueError("its certificates are not in PEM") from None


def _private_key(pem: bytes) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("its private_key has a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("its private_key is no private key in PEM") from None


def _algorithm(key: PrivateKeyTypes) -> str:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519"
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _LEAST_RSA_BITS:
        return "ps256"
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return _CURVES[key.curve.name]
    msg = "its private_key is none of P-256, P-384, P-521, Ed25519 and RSA of 2048 bits or more"
    raise ValueError(msg)


def _check_purpose(own: x509.Certificate) -> None:
    if own.issuer == own.subject:
        raise ValueError("its first certificate is self-signed: C2PA wants one that a root issued")
    try:
        found = own.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (x509.ExtensionNotFound, ValueError):
        found = x509.ExtendedKeyUsage([])
    if not {one.dotted_string for one in found} & {*PURPOSES}:
        msg = "its first certificate may not sign images: it has none of the extended key usages "
        raise ValueError(msg + "emailProtection, documentSigning and c2pa-kp-claimSigning")


def _check_issuer(one: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        raise ValueError(
            "its certificates are not in order: an issuer follows what it issued"
        ) from None
