"""The upstreams in their order: the next one gets only what cannot have been charged yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sd3.domain.billing import Charge, Quote
from sd3.domain.generation import GeneratedImage, GenerationResult, GenerationTask
from sd3.domain.job import JobError
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    InvalidRequestError,
    Sd3Error,
    UpstreamRefusedError,
    UpstreamTimeoutError,
)
from sd3.upstreams.dispatch import RateLimitedUpstream, Result

TRIES: Final = 3
"""Of a call that the last upstream is too busy for; from the others on it is the next one's."""


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """One upstream or several; each hands over to the next what it cannot or will not generate.

    Only images that cannot have been charged are handed over. After a response that did not come,
    or came in pieces, nobody knows. A refusal of the prompt or image itself is final.
    """

    make_members: Callable[[], Sequence[RateLimitedUpstream]]
    tries: int = TRIES

    @cached_property
    def members(self) -> Sequence[RateLimitedUpstream]:
        """The upstreams; raises ValueError for settings of which none can be made."""
        return self.make_members()

    def check(self, request: GenerateRequest) -> None:
        """Raise InvalidRequestError for a request that no upstream could ever generate."""
        has_image = request.init_image is not None
        field_errors = [
            one.upstream.unsupported(request, has_image=has_image) for one in self.members
        ]
        if all(field_errors):
            raise InvalidRequestError(field_errors[0])

    def quote(self, request: GenerateRequest, *, has_image: bool) -> Quote:
        """Price an attempt at most: every image by the dearest upstream that can generate it."""
        dearest = self._dearest(request, has_image=has_image)
        return Quote(
            upstream=dearest.upstream.name, micros=dearest.price(request) * request.num_images
        )

    def ignored(self, request: GenerateRequest, *, has_image: bool) -> tuple[str, ...]:
        """Name the fields that the upstream of the quote does not follow, or not as asked."""
        return self._dearest(request, has_image=has_image).upstream.ignored(request)

    def generate(self, task: GenerationTask) -> GenerationResult:
        """Generate one image for each seed of the task.

        Raises nothing: the result says what went wrong.
        """
        results: dict[int, Result] = {}
        charges: list[Charge] = []
        ignored: dict[str, None] = {}
        refused_by: list[str] = []
        milliseconds = 0.0
        rest = task
        able = self._able(task.request, has_image=task.init_image is not None)
        for member in able:
            calls = member.generate(rest, tries=self.tries if member is able[-1] else 1)
            results |= calls.results
            charges += member.charges(calls, task.request)
            milliseconds = max(milliseconds, calls.milliseconds)
            if calls.were_refused:
                refused_by.append(member.upstream.name)
            if calls.has_generated:
                ignored |= dict.fromkeys(member.upstream.ignored(task.request))
            rest = rest.only(i for i in rest.seeds if _can_be_handed_over(results[i]))
            if not rest.seeds:
                break
        if not results:
            error = UpstreamRefusedError("No upstream can generate this.")
            results = dict.fromkeys(task.seeds, error)
        result = _combined(task, results, milliseconds, tuple(ignored))
        return result._replace(charges=tuple(charges), refused_by=tuple(refused_by))

    def _dearest(self, request: GenerateRequest, *, has_image: bool) -> RateLimitedUpstream:
        able = self._able(request, has_image=has_image) or self.members
        return max(able, key=lambda member: member.price(request))

    def _able(self, request: GenerateRequest, *, has_image: bool) -> list[RateLimitedUpstream]:
        return [
            one
            for one in self.members
            if not one.upstream.unsupported(request, has_image=has_image)
        ]


def _can_be_handed_over(result: Result) -> bool:
    """Whether the next upstream may be asked for an image: nothing can have been charged for it."""
    return (
        isinstance(result, Sd3Error)
        and not result.may_have_charged
        and not isinstance(result, ContentPolicyError)
    )


def _combined(
    task: GenerationTask,
    results: dict[int, Result],
    milliseconds: float,
    ignored: tuple[str, ...],
) -> GenerationResult:
    errors = [result for result in results.values() if isinstance(result, Sd3Error)]
    if errors and not any(isinstance(r, GeneratedImage) and r.image for r in results.values()):
        return GenerationResult(error=max(errors, key=_severity))
    images = tuple(_image(seed, results[index]) for index, seed in task.seeds.items())
    return GenerationResult(images, milliseconds, ignored=ignored)


def _severity(error: Sd3Error) -> tuple[bool, bool, bool]:
    """Rank errors: first what may have been paid, then what may pass."""
    return isinstance(error, UpstreamTimeoutError), error.may_have_charged, error.retryable


def _image(seed: int, result: Result) -> GeneratedImage:
    if isinstance(result, GeneratedImage):
        return result
    error = JobError(code=result.code, message=result.message)
    return GeneratedImage(seed, None, error=error)
