"""Where the concrete classes meet: settings, AWS, the upstream and the log."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import cache

from aws_lambda_powertools import Logger
from botocore.exceptions import BotoCoreError, ClientError

from sd3.aws import POOL_SIZE, Aws
from sd3.errors import StorageError
from sd3.jobs import JobStore
from sd3.service import Service, utc_now
from sd3.settings import Settings
from sd3.storage import ImageStore
from sd3.upstreams import UPSTREAMS


@cache
def logger() -> Logger:
    """The structured log; it never holds tokens, prompts, links or pictures."""
    return Logger()


@cache
def service() -> Service:
    """The service of this process, from its environment."""
    return build(Settings.from_env(os.environ), Aws())


def build(settings: Settings, aws: Aws) -> Service:
    """Put a service together. Nothing is called and no client is used yet."""
    return Service(
        jobs=JobStore(aws.dynamodb, settings.jobs_table),
        images=ImageStore(
            aws.s3,
            settings.images_bucket,
            url_ttl=timedelta(seconds=settings.url_ttl_seconds),
            credentials_expiry=aws.credentials_expiry,
            parallel=POOL_SIZE,
        ),
        upstream=cache(lambda: UPSTREAMS[settings.upstream](settings, _token(aws, settings))),
        sync_image_steps=settings.sync_image_steps,
        retention=timedelta(days=settings.image_retention_days),
        now=utc_now,
        monotonic=time.monotonic,
    )


def _token(aws: Aws, settings: Settings) -> Callable[[], str]:
    """Read the upstream's token when it is first needed, once."""

    @cache
    def token() -> str:
        try:
            return aws.secrets.get_secret_value(SecretId=settings.upstream_secret)["SecretString"]
        except (BotoCoreError, ClientError, KeyError) as error:
            raise StorageError("The upstream's secret could not be read.") from error

    return token
