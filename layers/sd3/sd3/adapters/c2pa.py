"""The signer of images: a C2PA manifest in each file says what it is and who made it.

Only a stack with C2paSecretArn has the package c2pa. It is imported with the first key.
"""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from sd3.adapters.aws import storage_errors
from sd3.domain.provenance import CREATOR_TOOL, SOURCE_TYPES, Facts

if TYPE_CHECKING:
    from c2pa import Context
    from mypy_boto3_secretsmanager import SecretsManagerClient

    from sd3.domain.signing_certificate import SigningCertificate

_MAX_AGE_SECONDS: Final = 3600.0
"""How long a key signs before the secret is read again, for a certificate that was renewed."""

_RENEW_SECONDS: Final = 60.0
"""The least time between two reads where one has failed."""

_PATIENCE_SECONDS: Final = 5.0
"""How long an image waits for the rest of a read that began before it was generated. It is a part
of the time that is reserved for storing images."""

_WARNED_FOR: Final = timedelta(days=30)
"""How long before a certificate ends the log says so."""

_logger = logging.getLogger(__name__)


class C2paSigner:
    """Signs images with the key of a secret; see domain.signing_certificate for its form.

    The secret is read in the background, while an upstream generates. A key that was read goes on
    signing if the secret cannot be read again.
    """

    def __init__(
        self,
        client: Callable[[], "SecretsManagerClient"],
        arn: str,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Set up without a call."""
        self._client, self._arn, self._clock = client, arn, clock
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="c2pa")
        self._lock = Lock()
        self._loading: Future[Context] | None = None
        self._loaded: Context | None = None
        self._due_at = 0.0

    def prefetch(self) -> None:
        """Begin to read the key, unless that is under way or was done lately."""
        self._begin()

    def sign(self, data: bytes, content_type: str, facts: Facts) -> bytes:
        """Return the file with a signed manifest in it, which changes nothing else of it.

        c2pa verifies what it has signed. So whatever is wrong with the key raises an error here.
        """
        from c2pa import Builder  # noqa: PLC0415 - only a stack that signs has it

        context, signed = self._begin().result(_PATIENCE_SECONDS), BytesIO()
        with Builder(_manifest(facts), context) as builder:
            builder.sign(content_type, BytesIO(data), signed)
        return signed.getvalue()

    def _begin(self) -> "Future[Context]":
        with self._lock:
            loading = self._loading
            if loading is None or (loading.done() and self._clock() >= self._due_at):
                self._due_at = self._clock() + _MAX_AGE_SECONDS
                self._loading = loading = self._pool.submit(self._load)
            return loading

    def _load(self) -> "Context":
        try:
            self._loaded = _context(self._read())
        except Exception as error:
            self._due_at = self._clock() + _RENEW_SECONDS
            if self._loaded is None:
                raise
            _logger.warning("the key that signs images was not read again", exc_info=error)
        return self._loaded

    def _read(self) -> "SigningCertificate":
        from sd3.domain.signing_certificate import SigningCertificate  # noqa: PLC0415 - 0.1 s

        with storage_errors("The key that signs images could not be read."):
            secret = self._client().get_secret_value(SecretId=self._arn)
        certificate = SigningCertificate.from_secret(secret.get("SecretString", ""))
        if certificate.valid_until - datetime.now(UTC) < _WARNED_FOR:
            extra = {"valid_until": certificate.valid_until.isoformat()}
            _logger.warning("the certificate that signs images ends soon", extra=extra)
        return certificate


def _context(certificate: "SigningCertificate") -> "Context":
    from c2pa import C2paSignerInfo, Context, Signer  # noqa: PLC0415

    from sd3.domain.signing_certificate import PURPOSES  # noqa: PLC0415

    settings = {
        # Half a megabyte for each image otherwise.
        "builder": {"thumbnail": {"enabled": False}},
        # By default it verifies no certificate of C2PA's own trust list.
        "trust": {"trust_config": "\n".join(PURPOSES)},
        "verify": {"verify_after_sign": True, "ocsp_fetch": False, "remote_manifest_fetch": False},
    }
    info = C2paSignerInfo(
        certificate.algorithm,
        certificate.certificates.encode(),
        certificate.private_key.encode(),
        None,  # a time stamp would be a call to somebody else for each image
    )
    return Context.from_dict(settings, Signer.from_info(info))


def _manifest(facts: Facts) -> Mapping[str, Any]:
    name, _, version = CREATOR_TOOL.rpartition(" ")
    action: dict[str, Any] = {
        "action": "c2pa.created",
        "digitalSourceType": SOURCE_TYPES + facts.source_type,
    }
    if facts.upstream:
        model = {"version": facts.model} if facts.model else {}
        action["softwareAgent"] = {"name": facts.upstream, **model}
    return {
        "claim_generator_info": [{"name": name, "version": version}],
        # `created`: the signer says so itself, and does not pass on what somebody else says.
        "assertions": [
            {"label": "c2pa.actions.v2", "created": True, "data": {"actions": [action]}}
        ],
    }
