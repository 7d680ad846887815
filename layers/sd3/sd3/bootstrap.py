"""Where the concrete classes meet: settings, AWS, the upstreams and the log."""

import os
import random
import time
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from aws_lambda_powertools import Logger

from sd3.admission import Admission, Caller
from sd3.aws import POOL_SIZE, Aws
from sd3.gate_table import GateTable
from sd3.job_queue import JobQueue, job_id_in
from sd3.jobs import JobStore
from sd3.pacing import SharedGate
from sd3.ports import Time
from sd3.service import Service
from sd3.settings import Settings, UpstreamSettings
from sd3.storage import ImageStore
from sd3.turns import Bounds
from sd3.upload_store import UploadStore
from sd3.upstream_keys import UpstreamKeys
from sd3.upstreams import UPSTREAMS, Options, Upstream
from sd3.upstreams.calls import PacedUpstream
from sd3.upstreams.fallback import Fallback
from sd3.usage_table import UsageTable
from sd3.worker import Worker

__all__ = [
    "Caller",
    "build_admission",
    "build_service",
    "build_worker",
    "job_id_in",
    "logger",
    "queue",
    "service",
    "worker",
]

TIME: Final = Time(
    now=lambda: datetime.now(UTC), monotonic=time.monotonic, sleep=time.sleep, jitter=random.random
)


@cache
def logger() -> Logger:
    """The structured log; it never holds tokens, prompts, links or pictures."""
    return Logger()


@cache
def service() -> Service:
    """The use cases of clients in this process, from its environment."""
    return build_service(Settings.from_env(os.environ), Aws())


@cache
def worker() -> Worker:
    """The use case of the queue in this process, from its environment."""
    return build_worker(Settings.from_env(os.environ), Aws())


@cache
def queue() -> JobQueue:
    """The queue of jobs, from this process's environment."""
    return _queue(Settings.from_env(os.environ), Aws())


def build_service(settings: Settings, aws: Aws) -> Service:
    """Put the use cases of clients together. Nothing is called yet."""
    return Service(
        jobs=_jobs(settings, aws),
        usages=UsageTable(aws.dynamodb, settings.usage_table),
        images=_images(settings, aws),
        uploads=_uploads(settings, aws),
        queue=_queue(settings, aws),
        upstreams=_upstreams(settings, aws),
        time=TIME,
        sync_image_steps=settings.sync_image_steps,
        retention=timedelta(days=settings.image_retention_days),
        url_ttl_seconds=settings.url_ttl_seconds,
    )


def build_admission(settings: Settings, aws: Aws) -> Admission:
    """Put together what makes jobs, for callers that never wait for them."""
    return Admission(
        jobs=_jobs(settings, aws),
        images=_images(settings, aws),
        uploads=_uploads(settings, aws),
        queue=_queue(settings, aws),
        upstreams=_upstreams(settings, aws),
        time=TIME,
        sync_image_steps=0,
        retention=timedelta(days=settings.image_retention_days),
    )


def build_worker(settings: Settings, aws: Aws) -> Worker:
    """Put the use case of the queue together. Nothing is called yet."""
    return Worker(
        jobs=_jobs(settings, aws),
        images=_images(settings, aws),
        upstreams=_upstreams(settings, aws),
        time=TIME,
        max_queue=timedelta(hours=settings.max_queue_hours),
    )


def _jobs(settings: Settings, aws: Aws) -> JobStore:
    return JobStore(aws.dynamodb, settings.jobs_table, usage_table=settings.usage_table)


def _images(settings: Settings, aws: Aws) -> ImageStore:
    return ImageStore(
        aws.s3,
        settings.images_bucket,
        url_ttl=timedelta(seconds=settings.url_ttl_seconds),
        credentials_expiry=aws.credentials_expiry,
        parallel=POOL_SIZE,
    )


def _uploads(settings: Settings, aws: Aws) -> UploadStore:
    return UploadStore(aws.s3, settings.images_bucket, credentials_expiry=aws.credentials_expiry)


def _queue(settings: Settings, aws: Aws) -> JobQueue:
    return JobQueue(lambda: aws.sqs, settings.queue_url, aside_url=settings.aside_queue_url)


def _upstreams(settings: Settings, aws: Aws) -> Fallback:
    def members() -> tuple[PacedUpstream, ...]:
        chosen = settings.upstreams()
        # Bedrock can do without a key, so a plain one is of whoever stands beside it.
        keyed = [one.name for one in chosen if one.name != "bedrock" or len(chosen) == 1]
        keys = UpstreamKeys(
            lambda: aws.secrets,
            settings.upstream_secret,
            plain_for=keyed[0] if len(keyed) == 1 else None,
        )
        return tuple(_member(one, settings, aws, keys) for one in chosen)

    return Fallback(make_members=members)


def _member(
    one: UpstreamSettings, settings: Settings, aws: Aws, keys: UpstreamKeys
) -> PacedUpstream:
    if one.name not in UPSTREAMS:
        msg = f"UPSTREAM names {one.name!r}, which is none of {', '.join(UPSTREAMS)}"
        raise ValueError(msg)
    options = Options(
        base_url=one.url,
        key=keys.of(one.name),
        settings=settings,
        sign=aws.signer("bedrock", settings.bedrock_region),
    )

    def gate(upstream: Upstream) -> SharedGate:
        return SharedGate(
            GateTable(aws.dynamodb, settings.upstreams_table, one.name),
            bounds=Bounds(
                rate=one.rate or upstream.rate,
                concurrency=one.concurrency,
                pause_seconds=upstream.pause_seconds,
            ),
            clock=time.time,
        )

    return PacedUpstream(
        settings=one,
        make=lambda: UPSTREAMS[one.name](options),
        make_gate=gate,
        clock=TIME.monotonic,
        sleep=TIME.sleep,
        jitter=TIME.jitter,
    )
