"""The upstreams in the order in which they are asked, of which the next one never pays twice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from sd3.domain.billing import Expense, Quote
from sd3.domain.generation import GeneratedImage, GenerationResult
from sd3.domain.image import Image
from sd3.domain.job import JobError
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    InvalidRequestError,
    Sd3Error,
    UpstreamRefusedError,
    UpstreamTimeoutError,
)
from sd3.upstreams.dispatch import GenerationTask, RateLimitedUpstream, Result

TRIES: Final = 3
"""Of a call that the last upstream is too busy for; from the others on it is the next one's."""


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """One upstream or several. Whoever is not able, or says no, leaves its images to the next.

    Only what cannot have been charged is asked of the next one: after an answer that did not come,
    or came in pieces, nobody knows. An upstream's 'no' to a prompt or image is everybody's.
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
        """What an attempt costs at the most: every image by the dearest upstream that can."""
        dearest = self._dearest(request, has_image=has_image)
        return Quote(
            upstream=dearest.upstream.name, micros=dearest.price(request) * request.num_images
        )

    def ignored(self, request: GenerateRequest, *, has_image: bool) -> tuple[str, ...]:
        """Fields that the upstream of the quote does not follow, or not as asked."""
        return self._dearest(request, has_image=has_image).upstream.ignored(request)

    def generate(
        self,
        request: GenerateRequest,
        *,
        seeds: Sequence[int],
        init_image: Image | None,
        deadline: float,
    ) -> GenerationResult:
        """Generate one image for each seed, until `deadline` in seconds of the monotonic clock.

        Nothing is raised: the outcome says what went wrong.
        """
        results: dict[int, Result] = {}
        expenses: list[Expense] = []
        ignored: dict[str, None] = {}
        milliseconds = 0.0
        todo = dict(enumerate(seeds))
        able = self._able(request, has_image=init_image is not None)
        for member in able:
            order = GenerationTask(request, todo, init_image, deadline)
            made = member.generate(order, tries=self.tries if member is able[-1] else 1)
            results |= made.results
            expenses += member.expenses(made, request)
            milliseconds = max(milliseconds, made.milliseconds)
            if any(isinstance(result, GeneratedImage) for result in made.results.values()):
                ignored |= dict.fromkeys(member.upstream.ignored(request))
            todo = {index: seed for index, seed in todo.items() if _is_the_nexts(results[index])}
            if not todo:
                break
        if not results:
            results = dict.fromkeys(todo, UpstreamRefusedError("No upstream can generate this."))
        return _outcome(seeds, results, milliseconds, tuple(expenses), tuple(ignored))

    def _dearest(self, request: GenerateRequest, *, has_image: bool) -> RateLimitedUpstream:
        able = self._able(request, has_image=has_image) or self.members
        return max(able, key=lambda member: member.price(request))

    def _able(self, request: GenerateRequest, *, has_image: bool) -> list[RateLimitedUpstream]:
        return [
            one
            for one in self.members
            if not one.upstream.unsupported(request, has_image=has_image)
        ]


def _is_the_nexts(result: Result) -> bool:
    return (
        isinstance(result, Sd3Error)
        and not result.may_have_charged
        and not isinstance(result, ContentPolicyError)
    )


def _outcome(
    seeds: Sequence[int],
    results: dict[int, Result],
    milliseconds: float,
    expenses: tuple[Expense, ...],
    ignored: tuple[str, ...],
) -> GenerationResult:
    errors = [result for result in results.values() if isinstance(result, Sd3Error)]
    if errors and not any(isinstance(r, GeneratedImage) and r.image for r in results.values()):
        return GenerationResult(expenses=expenses, error=max(errors, key=_weight))
    images = tuple(_image(seed, results[index]) for index, seed in enumerate(seeds))
    return GenerationResult(images, milliseconds, expenses, ignored)


def _weight(error: Sd3Error) -> tuple[bool, bool, bool]:
    """Of several errors the one that counts: what may be paid, and then what may pass."""
    return isinstance(error, UpstreamTimeoutError), error.may_have_charged, error.retryable


def _image(seed: int, result: Result) -> GeneratedImage:
    if isinstance(result, GeneratedImage):
        return result
    error = JobError(code=result.code, message=result.message)
    return GeneratedImage(seed, None, error=error)
