"""What the tools take, and how a language model gets their results."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from sd3.api.mcp.server import ToolResult, text_block
from sd3.domain.aspect_ratios import ASPECT_RATIOS
from sd3.domain.image import encode_base64
from sd3.domain.job import JobStatus
from sd3.domain.preview import PREVIEW_TYPE
from sd3.domain.request import GenerateRequest, Seed, Whole
from sd3.responses.models import JobErrorBody, JobListResponse, JobResponse, Time

_SIZES: Final = {name: size for size, name in ASPECT_RATIOS.items()}

_MAX_TEXT: Final = 10_000

AspectRatio = Literal["1:1", "16:9", "9:16", "21:9", "9:21", "3:2", "2:3", "5:4", "4:5"]


class _Arguments(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ImageArguments(_Arguments):
    """generate_image: what an agent may choose of a request."""

    prompt: str = Field(
        min_length=1, max_length=_MAX_TEXT, repr=False, description="What to show, in detail."
    )
    negative_prompt: str = Field(
        default="", max_length=_MAX_TEXT, repr=False, description="What the image should not show."
    )
    aspect_ratio: AspectRatio = Field(default="1:1", description="Width to height.")
    num_images: Annotated[int, Field(ge=1, le=4), Whole] = Field(
        default=1, description="Images to generate. Each is paid."
    )
    seed: Seed | SkipJsonSchema[None] = Field(
        default=None, description="Repeat a seed to repeat an image."
    )
    init_image_id: (
        Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")] | SkipJsonSchema[None]
    ) = Field(default=None, description="The id of an upload to start from, if the user has one.")

    def to_request(self, *, max_images: int | None) -> GenerateRequest:
        """Translate to the request of the service. Raises InvalidRequestError."""
        width, height = _SIZES[self.aspect_ratio]
        values = self.model_dump(exclude={"aspect_ratio"}, exclude_none=True)
        values |= {"width": width, "height": height}
        return GenerateRequest.from_values(values, max_images=max_images)


class JobArguments(_Arguments):
    """get_job: which job."""

    id: str = Field(min_length=1, max_length=64, description="The id that generate_image named.")


class ListArguments(BaseModel):
    """list_jobs: which jobs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: JobStatus | SkipJsonSchema[None] = Field(
        default=None, description="Jobs in this state only."
    )
    limit: Annotated[int, Field(ge=1, le=20, strict=True), Whole] = Field(
        default=10, description="Jobs of a page, at most."
    )
    cursor: str | SkipJsonSchema[None] = Field(
        default=None, description="next_cursor of the page before."
    )


class ListedJob(BaseModel):
    """A job of a list. Its links are left out, which are long: get_job has them."""

    id: str
    status: JobStatus
    created_at: Time
    num_images: int = Field(description="Images that it has.")
    cost_usd: float
    error: JobErrorBody | None


class JobList(BaseModel):
    """list_jobs: a page of the client's jobs, newest first."""

    jobs: list[ListedJob]
    next_cursor: str | None


def job_result(
    job: JobResponse, previews: Mapping[int, bytes], *, must_succeed: bool
) -> ToolResult:
    """Render a job: what happened in a sentence, the job as JSON, and previews of its images."""
    exclude: Any = {"images": {"__all__": {"image_b64"}}}
    content: list[dict[str, str]] = [
        text_block(_summary(job)),
        text_block(job.model_dump_json(exclude=exclude, exclude_none=True)),
    ]
    content += [
        {"type": "image", "mimeType": PREVIEW_TYPE, "data": encode_base64(data)}
        for data in previews.values()
    ]
    has_failed = job.status in {JobStatus.FAILED, JobStatus.CANCELED}
    return ToolResult(content, is_error=must_succeed and has_failed)


def _summary(job: JobResponse) -> str:
    if not job.status.is_terminal:
        ends = "" if job.eta_seconds is None else f" It probably ends in {job.eta_seconds:.0f} s."
        advice = "Call get_job with this id; do not generate it again."
        return f"Job {job.id} is {job.status}.{ends} {advice}"
    if job.status is not JobStatus.SUCCEEDED:
        reason = f": {job.error.code}, {job.error.message}" if job.error else "."
        return f"Job {job.id} has {job.status}{reason}"
    there = sum(image.url is not None for image in job.images)
    removed = sum(image.removed_for_safety for image in job.images)
    parts = [f"Job {job.id} has {there} of {len(job.images)} images for ${job.cost_usd:g}."]
    if removed:
        parts.append(f"{removed} were removed for safety.")
    if there:
        parts.append("Below are previews: the links lead to the whole images, and expire.")
    return " ".join(parts)


def list_result(page: JobListResponse) -> ToolResult:
    """Render a page of jobs as JSON, also as text for clients that know no other."""
    jobs = [
        ListedJob(
            **job.model_dump(include={"id", "status", "created_at", "cost_usd"}),
            num_images=sum(image.url is not None for image in job.images),
            error=job.error,
        )
        for job in page.jobs
    ]
    listed = JobList(jobs=jobs, next_cursor=page.next_cursor)
    return ToolResult([text_block(listed.model_dump_json())], listed.model_dump(mode="json"))
