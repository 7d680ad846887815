"""A certificate for servers on loopback, and what their clients trust."""

import datetime as dt
import ipaddress
from pathlib import Path
from typing import NamedTuple

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


class LoopbackCertificate(NamedTuple):
    """The files of a certificate: with its key, and with the certificates of all usual CAs."""

    served: Path
    trusted: Path


def loopback_certificate(folder: Path) -> LoopbackCertificate:
    """Write a certificate for 127.0.0.1 that is signed by its own key, into `folder`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now, day = dt.datetime.now(dt.UTC), dt.timedelta(days=1)
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder(name, name, public, 1, now - day, now + day)
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    files = LoopbackCertificate(folder / "served.pem", folder / "trusted.pem")
    files.served.write_bytes(certificate + private)
    # A function reads all of them, as it does on AWS, where only the usual ones are trusted.
    files.trusted.write_bytes(Path(certifi.where()).read_bytes() + b"\n" + certificate)
    return files
