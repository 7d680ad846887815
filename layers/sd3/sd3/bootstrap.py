"""The composition root: the only module that connects settings, AWS clients and use cases.

Each builder imports what it builds, so that the cold start of a function imports only its own
parts. Everything is built on first use, and once for each process. `prepare` uses it first in
Lambda's init phase.
"""

import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import TYPE_CHECKING

from snapshot_restore_py import register_after_restore  # type: ignore[import-untyped]

from sd3.adapters.aws import AUTHORIZER_TIMEOUT, POOL_SIZE, TIMEOUT, Aws
from sd3.settings import Settings

if TYPE_CHECKING:
    from sd3.adapters.c2pa import C2paSigner
    from sd3.adapters.dynamodb.batches import BatchStore
    from sd3.adapters.dynamodb.jobs import JobStore
    from sd3.adapters.dynamodb.progress import ProgressStore
    from sd3.adapters.dynamodb.tokens import ClientStore
    from sd3.adapters.dynamodb.webhooks import WebhookStore
    from sd3.adapters.key_queue import SqsKeyQueue
    from sd3.adapters.s3.batches import BatchFiles
    from sd3.adapters.s3.images import ImageStore
    from sd3.adapters.s3.uploads import UploadStore
    from sd3.adapters.secrets import MasterSecrets, UpstreamKeys
    from sd3.adapters.sqs import SqsJobQueue
    from sd3.auth.jwt import JwtVerifier
    from sd3.http.image_source import ImageSource
    from sd3.services.batch_ends import BatchEnds
    from sd3.services.batch_lines import BatchLines
    from sd3.services.batch_results import BatchResults
    from sd3.services.batch_steps import BatchSteps
    from sd3.services.batches import BatchService
    from sd3.services.cancellation import JobCancellation
    from sd3.services.changes import JobChanges
    from sd3.services.deliveries import WebhookDeliveries
    from sd3.services.execution import JobExecutor
    from sd3.services.image_links import ImageLinks
    from sd3.services.inbox import Inbox
    from sd3.services.init_images import InitImages
    from sd3.services.jobs import JobService
    from sd3.services.notifications import JobEventPublisher, WebhookAnnouncer
    from sd3.services.ports import Clock, Metrics
    from sd3.services.previews import JobPreviews
    from sd3.services.progress import ProgressReader
    from sd3.services.reproduction import JobReproduction
    from sd3.services.reuse import ResultReuse
    from sd3.services.submission import JobSubmission
    from sd3.services.uploads import UploadForms
    from sd3.services.verification import ImageVerification
    from sd3.services.webhooks import WebhookService
    from sd3.services.worker import Worker
    from sd3.upstreams.fallback import Fallback


def prepare(*builders: Callable[[], object]) -> None:
    """Build what the first request of a function uses, if Lambda imports the function.

    Lambda imports it with a whole CPU. Afterwards a function of 512 MB has 0.29 of one. A snapshot
    of SnapStart keeps what was built. Elsewhere nothing is built: tests set the environment later.
    """
    if "AWS_LAMBDA_FUNCTION_NAME" not in os.environ:  # reserved: only Lambda sets it
        return
    for build in builders:
        # Nothing is lost: a request builds it again, and then its caller gets the error.
        with suppress(Exception):
            build()


@cache
def clients() -> "ClientStore":
    """Build the authorizer's store of clients, which finds them by their tokens."""
    from sd3.adapters.dynamodb.tokens import ClientStore

    return ClientStore(_aws(AUTHORIZER_TIMEOUT).dynamodb, _settings().clients_table)


@cache
def jwt_verifier() -> "JwtVerifier | None":
    """Build the verifier of JWTs, or return None if this deployment accepts none."""
    settings = _settings().jwts()
    if settings is None:
        return None
    from sd3.auth.jwt import JwtVerifier

    return JwtVerifier(settings)


@cache
def job_service() -> "JobService":
    """Build the use cases of clients."""
    from sd3.adapters.dynamodb.ledger import UsageStore
    from sd3.services.jobs import JobService
    from sd3.services.waits import JobWaits

    settings = _settings()
    return JobService(
        submission=_submission(sync_image_steps=settings.sync_image_steps),
        executor=_executor(),
        waits=JobWaits(
            jobs=_jobs(),
            cancellation=_cancellation(),
            counts=_jobs().counts,
            clock=clock(),
            url_ttl_seconds=settings.url_ttl_seconds,
            per_client=settings.waits_per_client,
        ),
        cancellation=_cancellation(),
        progress=_progress,
        jobs=_jobs(),
        usage=UsageStore(_aws().dynamodb, settings.usage_table),
        images=_images(),
        queue=queue(),
        generator=_generator(),
        clock=clock(),
    )


@cache
def reproduction() -> "JobReproduction":
    """Build the use case of reproductions."""
    from sd3.services.reproduction import JobReproduction

    return JobReproduction(service=job_service(), jobs=_jobs(), images=_images(), clock=clock())


@cache
def upload_forms() -> "UploadForms":
    """Build the use case of uploads."""
    from sd3.services.uploads import UploadForms

    return UploadForms(uploads=_uploads(), counts=_jobs().counts, clock=clock())


@cache
def image_links() -> "ImageLinks":
    """Build the use case of links to single images and their renditions."""
    from sd3.adapters.s3.renditions import RenditionStore
    from sd3.services.image_links import ImageLinks

    settings = _settings()
    url_ttl = timedelta(seconds=settings.url_ttl_seconds)
    renditions = RenditionStore(_aws().s3, settings.images_bucket, url_ttl=url_ttl)
    return ImageLinks(jobs=_jobs(), images=_images(), renditions=renditions, clock=clock())


@cache
def verification() -> "ImageVerification":
    """Build the use case of verifications."""
    from sd3.services.verification import ImageVerification

    return ImageVerification(secrets=cache(_secrets().read))


@cache
def playground_origin() -> str | None:
    """Return the origin of the images that the playground shows; None if there is no playground."""
    return _images().origin() if _settings().playground == "true" else None


@cache
def previews() -> "JobPreviews":
    """Build the use case of previews."""
    from sd3.services.previews import JobPreviews

    return JobPreviews(images=_images())


@cache
def worker() -> "Worker":
    """Build the use case of the worker."""
    from sd3.domain.job import BATCH, SINGLE
    from sd3.services.progress import ProgressRecorder
    from sd3.services.worker import Worker

    settings = _settings()
    concurrency = {SINGLE: settings.worker_concurrency, BATCH: settings.batch_concurrency}
    return Worker(
        jobs=_jobs(),
        images=_images(),
        generator=_generator(),
        executor=_executor(),
        cancellation=_cancellation(),
        progress=ProgressRecorder(_progress_store(), clock=clock(), concurrency=concurrency),
        clock=clock(),
        metrics=metrics(),
        max_queue=timedelta(hours=settings.max_queue_hours),
    )


@cache
def queue() -> "SqsJobQueue":
    """Build the queue of jobs."""
    from sd3.adapters.sqs import SqsJobQueue

    url, unprocessable_url = _settings().queue_url, _settings().unprocessable_queue_url
    return SqsJobQueue(
        partial(getattr, _aws(), "sqs"),
        url,
        unprocessable_url=unprocessable_url,
        trace=partial(os.environ.get, "_X_AMZN_TRACE_ID"),  # Lambda sets it for each invocation
    )


def queue_client() -> None:
    """Build the queue's client, which the queue itself builds when it is first used."""
    _ = _aws().sqs


def upstreams() -> None:
    """Build the upstreams that the settings name, which are otherwise built at their first use.

    Raises ValueError for settings that they cannot be built from.
    """
    _generator().prepare()


def upstream_keys() -> None:
    """Build the client for the secret of the upstreams' keys. Raises ValueError as `upstreams`."""
    _keys().prepare()


def master_secret() -> None:
    """Build the client for the secret of all that this service signs."""
    _secrets().prepare()


@cache
def inbox() -> "Inbox":
    """Build the use case of the inbox."""
    from sd3.adapters.dynamodb.tokens import ClientStore
    from sd3.adapters.s3.inbox import InboxFileStore, InboxResultStore
    from sd3.services.inbox import Inbox

    settings, aws = _settings(), _aws()
    return Inbox(
        submission=_submission(sync_image_steps=0),  # no caller waits for the images
        clients=ClientStore(aws.dynamodb, settings.clients_table),
        files=InboxFileStore(aws.s3),
        results=InboxResultStore(aws.s3, settings.images_bucket),
        batches=batch_service,
        images_bucket=settings.images_bucket,
    )


@cache
def job_event_publisher() -> "JobEventPublisher":
    """Build the use case of a job's end."""
    from sd3.adapters.eventbridge import EventBridgeBus
    from sd3.adapters.s3.inbox import InboxResultStore
    from sd3.services.notifications import JobEventPublisher

    settings, aws = _settings(), _aws()
    return JobEventPublisher(
        bus=EventBridgeBus(aws.events, settings.event_bus),
        results=InboxResultStore(aws.s3, settings.images_bucket),
        metrics=metrics(),
        bucket=settings.images_bucket,
    )


@cache
def webhook_announcer() -> "WebhookAnnouncer":
    """Build the use case that begins deliveries."""
    from sd3.services.notifications import WebhookAnnouncer

    return WebhookAnnouncer(webhooks=_webhooks(), queue=delivery_queue())


@cache
def webhook_deliveries() -> "WebhookDeliveries":
    """Build the use case of deliveries."""
    from sd3.adapters.eventbridge import EventBridgeBus
    from sd3.domain.client_url import UrlPolicy
    from sd3.http.webhook_receiver import HttpWebhookReceiver
    from sd3.services.deliveries import WebhookDeliveries

    settings = _settings()
    return WebhookDeliveries(
        webhooks=_webhooks(),
        jobs=_jobs(),
        images=_images(),
        receiver=HttpWebhookReceiver(UrlPolicy(settings.client_urls)),
        secrets=cache(_secrets().read),
        events=EventBridgeBus(_aws().events, settings.event_bus),
        clock=clock(),
        metrics=metrics(),
    )


@cache
def webhook_service() -> "WebhookService":
    """Build the use cases of clients on webhooks."""
    from sd3.domain.client_url import UrlPolicy
    from sd3.services.webhooks import WebhookService

    return WebhookService(
        webhooks=_webhooks(),
        queue=delivery_queue(),
        secrets=cache(_secrets().read),
        clock=clock(),
        policy=UrlPolicy(_settings().client_urls),
    )


@cache
def delivery_queue() -> "SqsKeyQueue":
    """Build the queue of deliveries."""
    from sd3.adapters.key_queue import SqsKeyQueue

    settings = _settings()
    return SqsKeyQueue(
        partial(getattr, _aws(), "sqs"),
        settings.deliveries_queue_url,
        unprocessable_url=settings.unprocessable_queue_url,
        trace=partial(os.environ.get, "_X_AMZN_TRACE_ID"),
    )


@cache
def batch_service() -> "BatchService":
    """Build the use cases of clients on batches."""
    from sd3.adapters.dynamodb.counts import ClientCounts
    from sd3.services.batches import BatchService

    settings = _settings()
    return BatchService(
        batches=_batches(),
        files=_batch_files(),
        images=_images(),
        queue=batch_queue(),
        counts=ClientCounts(_aws().dynamodb, settings.usage_table),
        clock=clock(),
        retention=timedelta(days=settings.image_retention_days),
    )


@cache
def batch_steps() -> "BatchSteps":
    """Build the use case of the messages of batches."""
    from sd3.services.batch_steps import BatchSteps

    return BatchSteps(
        batches=_batches(), lines=_batch_lines(), results=_batch_results(), clock=clock()
    )


def _batch_lines() -> "BatchLines":
    from sd3.services.batch_lines import BatchLines

    return BatchLines(
        batches=_batches(),
        files=_batch_files(),
        submission=_submission(sync_image_steps=0),  # no caller waits for the images
        ends=batch_ends(),
        queue=batch_queue(),
        clock=clock(),
    )


def _batch_results() -> "BatchResults":
    from sd3.adapters.eventbridge import EventBridgeBus
    from sd3.adapters.s3.inbox import InboxResultStore
    from sd3.services.batch_results import BatchResults

    settings, aws = _settings(), _aws()
    return BatchResults(
        batches=_batches(),
        files=_batch_files(),
        jobs=_jobs(),
        events=EventBridgeBus(aws.events, settings.event_bus),
        inbox=InboxResultStore(aws.s3, settings.images_bucket),
        clock=clock(),
        bucket=settings.images_bucket,
    )


@cache
def batch_ends() -> "BatchEnds":
    """Build the use case of a line's end."""
    from sd3.services.batch_ends import BatchEnds

    return BatchEnds(batches=_batches(), queue=batch_queue())


@cache
def batch_queue() -> "SqsKeyQueue":
    """Build the queue of the steps of batches."""
    from sd3.adapters.key_queue import SqsKeyQueue

    settings = _settings()
    return SqsKeyQueue(
        partial(getattr, _aws(), "sqs"),
        settings.batch_queue_url,
        unprocessable_url=settings.unprocessable_queue_url,
        trace=partial(os.environ.get, "_X_AMZN_TRACE_ID"),
    )


@cache
def job_changes() -> "JobChanges":
    """Build the use case of every write of a job."""
    from sd3.adapters.dynamodb.ledger import UsageStore
    from sd3.services.changes import JobChanges

    usage = UsageStore(_aws().dynamodb, _settings().usage_table)
    return JobChanges(usage=usage, queue=queue(), clock=clock())


@cache
def clock() -> "Clock":
    """Build the clock of this process."""
    from sd3.services.ports import Clock

    return Clock(
        now=partial(datetime.now, UTC),
        monotonic=time.monotonic,
        sleep=time.sleep,
        jitter=random.random,
    )


@cache
def metrics() -> "Metrics":
    """Build the recorder of metrics."""
    from sd3.observability import EmbeddedMetrics

    return EmbeddedMetrics()


def _settings() -> Settings:
    return Settings.from_env(os.environ)


@cache
def _aws(timeout: int = TIMEOUT) -> Aws:
    return Aws(timeout=timeout)


@cache
def _jobs() -> "JobStore":
    from sd3.adapters.dynamodb.jobs import JobStore

    settings = _settings()
    return JobStore(_aws().dynamodb, settings.jobs_table, usage_table=settings.usage_table)


def _cancellation() -> "JobCancellation":
    from sd3.services.cancellation import JobCancellation

    return JobCancellation(jobs=_jobs(), images=_images())


@cache
def _progress() -> "ProgressReader":
    from sd3.services.progress import ProgressReader

    return ProgressReader(progress=_progress_store(), clock=clock())


def _progress_store() -> "ProgressStore":
    from sd3.adapters.dynamodb.progress import ProgressStore

    return ProgressStore(_aws().dynamodb, _settings().jobs_table)


@cache
def _images() -> "ImageStore":
    from sd3.adapters.s3.images import ImageStore

    settings, aws = _settings(), _aws()
    return ImageStore(
        aws.s3,
        settings.images_bucket,
        url_ttl=timedelta(seconds=settings.url_ttl_seconds),
        credentials_expiry=aws.credentials_expiry,
        parallel=POOL_SIZE,
    )


@cache
def _webhooks() -> "WebhookStore":
    from sd3.adapters.dynamodb.webhooks import WebhookStore

    settings = _settings()
    slots = max(settings.webhook_concurrency * 3 // 10, 1)  # so that no host keeps others waiting
    return WebhookStore(_aws().dynamodb, settings.webhooks_table, host_slots=slots)


@cache
def _batches() -> "BatchStore":
    from sd3.adapters.dynamodb.batches import BatchStore

    return BatchStore(_aws().dynamodb, _settings().batches_table)


def _batch_files() -> "BatchFiles":
    from sd3.adapters.s3.batches import BatchFiles

    return BatchFiles(_aws().s3, _settings().images_bucket)


def _uploads() -> "UploadStore":
    from sd3.adapters.s3.uploads import UploadStore

    aws = _aws()
    return UploadStore(aws.s3, _settings().images_bucket, credentials_expiry=aws.credentials_expiry)


def _submission(*, sync_image_steps: int) -> "JobSubmission":
    from sd3.services.submission import JobSubmission

    return JobSubmission(
        jobs=_jobs(),
        images=_images(),
        init_images=_init_images(),
        queue=queue(),
        generator=_generator(),
        clock=clock(),
        metrics=metrics(),
        sync_image_steps=sync_image_steps,
        retention=timedelta(days=_settings().image_retention_days),
        reuse=_reuse(),
    )


def _reuse() -> "ResultReuse | None":
    settings = _settings()
    if not settings.reuses_results():
        return None
    from sd3.services.reuse import ResultReuse

    return ResultReuse(
        jobs=_jobs(), images=_images(), clock=clock(), generated_by=settings.generated_by()
    )


def _init_images() -> "InitImages":
    from sd3.adapters.dynamodb.ledger import UsageStore
    from sd3.services.init_images import InitImages

    return InitImages(
        uploads=_uploads(),
        source=_image_source,
        counts=_jobs().counts,
        usage=UsageStore(_aws().dynamodb, _settings().usage_table),
        clock=clock(),
    )


@cache
def _image_source() -> "ImageSource":
    from sd3.domain.client_url import UrlPolicy
    from sd3.http.image_source import ImageSource

    return ImageSource(UrlPolicy(_settings().client_urls))


def _executor() -> "JobExecutor":
    from sd3.domain.provenance import Mode
    from sd3.services.execution import JobExecutor
    from sd3.services.provenance import ImageMarker

    return JobExecutor(
        jobs=_jobs(),
        images=_images(),
        generator=_generator(),
        clock=clock(),
        metrics=metrics(),
        marker=ImageMarker(mode=Mode(_settings().provenance), secrets=_secrets(), signer=_signer()),
    )


@cache
def _signer() -> "C2paSigner | None":
    if not _settings().c2pa_secret:
        return None
    from sd3.adapters.c2pa import C2paSigner

    return C2paSigner(partial(getattr, _aws(), "secrets"), _settings().c2pa_secret)


@cache
def _secrets() -> "MasterSecrets":
    from sd3.adapters.secrets import MasterSecrets

    return MasterSecrets(partial(getattr, _aws(), "secrets"), _settings().master_secret)


@cache
def _generator() -> "Fallback":
    from sd3.upstreams import build_fallback

    return build_fallback(
        _settings(), _aws(), keys=_keys, sleep=clock().sleep, jitter=clock().jitter
    )


@cache
def _keys() -> "UpstreamKeys":
    from sd3.upstreams import build_keys

    return build_keys(_settings(), _aws())


# All copies of a snapshot of SnapStart begin with the same state of `random`, from which jitter
# comes. Nothing else is reset: no builder connects to anything, so no connection, secret or key is
# in a snapshot. Its credentials come from a URL with SnapStart, and are renewed before they expire.
register_after_restore(random.seed)  # at import, since Lambda takes the snapshot right after it
