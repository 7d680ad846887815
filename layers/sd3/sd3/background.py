"""Where the concrete classes of the doors at which nobody waits meet: the inbox, and a job's end.

Not in bootstrap, whose imports are a part of every cold start that a client waits for.
"""

import os
from functools import cache

from sd3.aws import Aws
from sd3.bootstrap import build_admission, logger
from sd3.clients import ClientStore
from sd3.ended import Announcer
from sd3.event_bus import EventBus
from sd3.inbox import Inbox
from sd3.inbox_store import AnswerStore, FileStore
from sd3.ports import Upload
from sd3.settings import Settings

__all__ = ["Upload", "announcer", "inbox", "logger"]


@cache
def inbox() -> Inbox:
    """The use case of the inbox in this process, from its environment."""
    settings, aws = Settings.from_env(os.environ), Aws()
    return Inbox(
        admission=build_admission(settings, aws),
        clients=ClientStore(aws.dynamodb, settings.clients_table),
        files=FileStore(aws.s3),
        answers=AnswerStore(aws.s3, settings.images_bucket),
    )


@cache
def announcer() -> Announcer:
    """The use case of a job's end in this process, from its environment."""
    settings, aws = Settings.from_env(os.environ), Aws()
    return Announcer(
        bus=EventBus(aws.events, settings.event_bus),
        answers=AnswerStore(aws.s3, settings.images_bucket),
        bucket=settings.images_bucket,
    )
