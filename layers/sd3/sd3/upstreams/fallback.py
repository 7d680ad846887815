"""Fallback through the upstreams in their order, for images that cannot have been charged yet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Self

from sd3.domain.billing import Charge, Quote
from sd3.domain.generation import GeneratedImage, GenerationResult, GenerationTask
from sd3.domain.job import JobError, Reproduction
from sd3.domain.request import GenerateRequest
from sd3.errors import (
    ContentPolicyError,
    FieldError,
    InvalidRequestError,
    NotReproducibleError,
    Sd3Error,
    UpstreamRefusedError,
    UpstreamTimeoutError,
)
from sd3.upstreams.dispatch import RateLimitedUpstream, Result

TRIES: Final = 3
"""Tries of a call to the last upstream while that is busy. A call that finds any other upstream
busy goes to the next upstream."""


@dataclass(frozen=True, kw_only=True)
class Fallback:
    """One or several upstreams; images that one of them fails to generate go to the next one.

    Only images that cannot have been charged go to the next upstream. A missing or incomplete
    response does not show whether its images were charged. When an upstream rejects the prompt or
    the init image for its content, that is final.
    """

    make_members: Callable[[], Sequence[RateLimitedUpstream]]
    tries: int = TRIES

    @cached_property
    def members(self) -> Sequence[RateLimitedUpstream]:
        """Build the upstreams. Raises ValueError for settings that they cannot be built from."""
        return self.make_members()

    def prepare(self) -> None:
        """Build all that the first call needs. Raises ValueError as `members` does."""
        for member in self.members:
            member.prepare()

    def only(self, reproduction: Reproduction | None) -> Self:
        """Restrict a reproduction to the upstream and the model that it names.

        Raises NotReproducibleError if they are not configured any more.
        """
        if reproduction is None:
            return self
        name, model = reproduction.upstream, reproduction.model
        members = [one for one in self.members if one.upstream.name == name]
        if not members:
            raise NotReproducibleError(f"The upstream {name} is not configured any more.")
        if model and any(one.upstream.model not in {None, model} for one in members):
            raise NotReproducibleError(f"The upstream {name} has another model now.")
        return replace(self, make_members=lambda: members)

    def check(self, request: GenerateRequest, *, seconds: float) -> None:
        """Raise InvalidRequestError for a request that no upstream can generate in `seconds`.

        How long a long request takes is known after the first one. Raises StorageError.
        """
        has_image = request.has_init_image
        field_errors = [
            one.upstream.unsupported(request, has_image=has_image)
            or (_too_long(seconds) if one.is_too_long(request, seconds=seconds) else ())
            for one in self.members
        ]
        if all(field_errors):
            raise InvalidRequestError(field_errors[0])

    def quote(self, request: GenerateRequest, *, has_image: bool) -> Quote:
        """Return the most that an attempt can cost: every image by the dearest able upstream."""
        dearest = self._dearest(request, has_image=has_image)
        return Quote(
            upstream=dearest.upstream.name, micros=dearest.price(request) * request.num_images
        )

    def ignored(self, request: GenerateRequest, *, has_image: bool) -> tuple[str, ...]:
        """Return the fields that the quoted upstream ignores or changes."""
        return self._dearest(request, has_image=has_image).upstream.ignored(request)

    def seconds_apart(self, request: GenerateRequest, *, has_image: bool, seconds: float) -> float:
        """Return how far apart all upstreams together have requests be that take `seconds` each.

        It is 0 if one of them has no bounds.
        """
        able = self._able(request, has_image=has_image)
        apart = [one.seconds_apart(request, seconds=seconds) for one in able]
        return 1 / sum(1 / one for one in apart) if apart and all(apart) else 0.0

    def generate(self, task: GenerationTask) -> GenerationResult:
        """Generate one image for each seed of the task.

        Raises nothing: an error is part of the result.
        """
        results: dict[int, Result] = {}
        charges: list[Charge] = []
        ignored: dict[str, None] = {}
        refused_by: list[str] = []
        opened: dict[str, float] = {}
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
            if calls.open_seconds:
                opened[member.upstream.name] = calls.open_seconds
            if calls.has_generated:
                ignored |= dict.fromkeys(member.upstream.ignored(task.request))
            rest = rest.only(i for i in rest.seeds if _can_be_handed_over(results[i]))
            if not rest.seeds:
                break
        if not results:
            error = UpstreamRefusedError("No upstream can generate this.")
            results = dict.fromkeys(task.seeds, error)
        result = _combined(task, results, milliseconds, tuple(ignored))
        return result._replace(charges=tuple(charges), refused_by=tuple(refused_by), opened=opened)

    def _dearest(self, request: GenerateRequest, *, has_image: bool) -> RateLimitedUpstream:
        able = self._able(request, has_image=has_image) or self.members
        return max(able, key=lambda member: member.price(request))

    def _able(self, request: GenerateRequest, *, has_image: bool) -> list[RateLimitedUpstream]:
        return [
            one
            for one in self.members
            if not one.upstream.unsupported(request, has_image=has_image)
        ]


def _too_long(seconds: float) -> Sequence[FieldError]:
    msg = f"num_images x steps takes longer than the {seconds:.0f} s that a job may take"
    return (FieldError(("body", "num_images"), msg, "too_long"),)


def _can_be_handed_over(result: Result) -> bool:
    """Return whether the next upstream may generate an image: it cannot have been charged."""
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
    """Rank errors: first those that may have been charged, then those that a retry may solve."""
    return isinstance(error, UpstreamTimeoutError), error.may_have_charged, error.retryable


def _image(seed: int, result: Result) -> GeneratedImage:
    if isinstance(result, GeneratedImage):
        return result
    error = JobError(code=result.code, message=result.message)
    return GeneratedImage(seed, None, error=error)
