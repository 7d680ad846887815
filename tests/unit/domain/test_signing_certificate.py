"""The secret of the key that signs images: what can sign, and what is wrong with what cannot."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat

from sd3.domain.signing_certificate import SigningCertificate
from tests.support.factories.signing_certificates import (
    CLAIMS,
    Issued,
    issued,
    key_pem,
    root,
    secret,
)


@pytest.fixture(scope="module")
def leaf() -> Issued:
    return issued(root())


def p(curve: Any) -> Any:
    return ec.generate_private_key(curve)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (p(ec.SECP256R1()), "es256"),
        (p(ec.SECP384R1()), "es384"),
        (p(ec.SECP521R1()), "es512"),
        (ed25519.Ed25519PrivateKey.generate(), "ed25519"),
        (rsa.generate_private_key(65537, 2048), "ps256"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_algorithm_follows_from_the_key(key: Any, algorithm: str) -> None:
    assert SigningCertificate.from_secret(secret(issued(root(), key))).algorithm == algorithm


def test_a_certificate_comes_with_those_that_issued_it() -> None:
    between = issued(root(), name="intermediate")
    leaf = issued(between, usages=(CLAIMS,))
    found = SigningCertificate.from_secret(secret(leaf, between, root()))
    assert found.certificates == leaf.pem + between.pem + root().pem
    assert found.valid_until == leaf.certificate.not_valid_after_utc


def test_a_key_in_openssls_own_form_is_rewritten_to_what_c2pa_reads(leaf: Issued) -> None:
    traditional = key_pem(leaf.key, form=PrivateFormat.TraditionalOpenSSL)
    assert traditional.startswith("-----BEGIN EC PRIVATE KEY")
    found = SigningCertificate.from_secret(secret(leaf, private_key=traditional))
    assert found.private_key == key_pem(leaf.key)


def wrong_secrets() -> dict[str, tuple[str, str]]:
    leaf = issued(root())
    between = issued(root(), name="intermediate")
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - as it should not be
    other = p(ec.SECP256K1())
    return {
        "text": ("sk-1", "not JSON"),
        "list": ("[]", "no text certificates"),
        "no key": (json.dumps({"certificates": leaf.pem}), "no text private_key"),
        "key is no text": (secret(leaf, private_key=["a"]), "no text private_key"),
        "DER": (secret(leaf, certificates="MIIB"), "not in PEM"),
        "cut": (secret(leaf, certificates=leaf.pem[:200]), "not in PEM"),
        "key is a certificate": (secret(leaf, private_key=leaf.pem), "no private key in PEM"),
        "password": (secret(leaf, private_key=key_pem(leaf.key, password=b"x")), "a password"),
        "another key": (secret(leaf, key=p(ec.SECP256R1())), "not the key of its first"),
        "root first": (secret(root(), leaf, key=leaf.key), "not the key of its first"),
        "self-signed": (secret(root()), "self-signed"),
        "small": (secret(issued(root(), small)), "none of P-256"),
        "another curve": (secret(issued(root(), other)), "none of P-256"),
        "no usage": (secret(issued(root(), usages=())), "emailProtection"),
        "a gap": (secret(issued(between), root()), "not in order"),
    }


@pytest.mark.parametrize("name", WRONG := wrong_secrets())
def test_what_is_wrong_is_said_without_a_word_of_the_secret(name: str) -> None:
    text, why = WRONG[name]
    with pytest.raises(ValueError, match=why) as raised:
        SigningCertificate.from_secret(text)
    assert "BEGIN" not in str(raised.value)
    assert raised.value.__cause__ is None
