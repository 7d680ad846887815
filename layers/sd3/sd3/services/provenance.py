"""The marks by which images say what made them, put in before they are stored."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sd3.domain.generation import GeneratedImage
from sd3.domain.image import Image
from sd3.domain.job import UNSIGNED, Job
from sd3.domain.parameters import parameters_of
from sd3.domain.provenance import ALGORITHMIC, COMPOSITE, TRAINED, Facts, Mode, packet_of
from sd3.domain.xmp import embed, read_marks
from sd3.services.ports import FileSigner, Finish, Secrets

_logger = logging.getLogger(__name__)

UPSTREAM: Final = "upstream"
"""What the record says of a file that came with a mark, which is left as it is."""


class NoSecrets(NamedTuple):
    """The secrets of a deployment that has none."""

    def prefetch(self) -> None:
        """Do nothing."""

    def fetched(self) -> tuple[bytes, ...]:
        """Return no secret."""
        return ()


NO_SECRETS: Final = NoSecrets()


@dataclass(frozen=True, kw_only=True)
class ImageMarker:
    """Marks the images of jobs."""

    mode: Mode = Mode.NONE
    secrets: Secrets = NO_SECRETS
    signer: FileSigner | None = None
    """What signs the marked files, in a deployment that has it."""

    def prefetch(self) -> None:
        """Begin to read the secrets that sign, beside the call to the upstream."""
        if self.mode is not Mode.NONE:
            self.secrets.prefetch()
        if self.signer:
            self.signer.prefetch()

    def of(self, job: Job, *, has_init_image: bool, ignored: Sequence[str]) -> Finish:
        """Return what marks the image of an index. It raises nothing: the image is paid for."""

        def mark(index: int, generated: GeneratedImage) -> GeneratedImage:
            try:
                return self._marked(job, index, generated, has_init_image, ignored)
            except Exception as error:
                extra = {"job_id": job.id, "index": index}
                _logger.exception("image not marked", exc_info=error, extra=extra)
                return generated._replace(c2pa=False if self.signer else None)

        return mark

    def _marked(
        self,
        job: Job,
        index: int,
        generated: GeneratedImage,
        has_init_image: bool,
        ignored: Sequence[str],
    ) -> GeneratedImage:
        image, has_text = generated.image, job.request.embed_parameters
        if has_text is None:
            has_text = self.mode is Mode.FULL
        if image is None or (self.mode is Mode.NONE and not has_text and self.signer is None):
            return generated
        if any(read_marks(image.data, image.content_type)):
            return generated._replace(provenance=UPSTREAM)
        model = _public(generated.model) or generated.engine
        strength = job.request.strength if has_init_image else None
        facts = self._facts(job, index, generated, model, has_init_image)
        packet, provenance, text = b"", None, ""
        if has_text:
            text = parameters_of(
                job.request, generated, model=model, strength=strength, ignored=ignored
            )
        if self.mode is not Mode.NONE:
            secret = next(iter(self.secrets.fetched()), None)
            packet = packet_of(facts, image.data, secret)
            provenance = str(self.mode) if secret else UNSIGNED
        marked = image._replace(data=embed(image.data, image.content_type, packet, parameters=text))
        signed, c2pa = self._signed(marked, facts)
        return generated._replace(image=signed, provenance=provenance, c2pa=c2pa)

    def _signed(self, marked: Image, facts: Facts) -> tuple[Image, bool | None]:
        """Sign a marked file; return also whether it was, or None if files are not signed here."""
        if self.signer is None:
            return marked, None
        try:
            data = self.signer.sign(marked.data, marked.content_type, facts)
        except Exception as error:
            extra = {"job_id": facts.job_id, "index": facts.index}
            _logger.exception("image not signed", exc_info=error, extra=extra)
            return marked, False
        return marked._replace(data=data), True

    def _facts(
        self,
        job: Job,
        index: int,
        generated: GeneratedImage,
        model: str | None,
        has_init_image: bool,
    ) -> Facts:
        source_type = COMPOSITE if has_init_image else TRAINED
        return Facts(
            job_id=job.id,
            index=index,
            client_id=job.client_id,
            seed=generated.seed,
            created_at=job.created_at,
            source_type=source_type if generated.is_trained else ALGORITHMIC,
            upstream=generated.upstream,
            model=model,
            prompt=job.request.prompt if self.mode is Mode.FULL else None,
        )


def _public(model: str | None) -> str | None:
    """Return a model's name without the account that an ARN of Bedrock has."""
    return model.rpartition("/")[2] if model and model.startswith("arn:") else model
