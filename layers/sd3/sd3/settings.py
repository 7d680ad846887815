"""The settings of a deployment, read from the environment in one place."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field per environment variable of the same name in upper case; none is a secret."""

    images_bucket: str = ""
    jobs_table: str = ""
    clients_table: str = ""
    queue_url: str = ""
    aside_queue_url: str = ""
    event_bus: str = "default"
    max_queue_hours: int = 6
    upstream: str = "octoai"
    upstream_url: str = ""
    upstream_secret: str = ""
    """ARN of the Secrets Manager secret that holds the upstream's bearer token."""
    sync_image_steps: int = 120
    url_ttl_seconds: int = 3600
    image_retention_days: int = 30
    allowed_origins: str = ""
    """Origins of web pages that may call the service, comma-separated; * for all."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read what is set; a variable that is not set keeps its default.

        Raises ValueError, naming the variable, for a value of the wrong type.
        """
        values: dict[str, str | int] = {}
        for field in fields(cls):
            name = field.name.upper()
            if name in environ:
                values[field.name] = _typed(name, environ[name], field.type is int)
        return cls(**values)  # type: ignore[arg-type]


def _typed(name: str, text: str, whole_number: bool) -> str | int:
    if not whole_number:
        return text
    try:
        return int(text)
    except ValueError as error:
        msg = f"{name} must be a whole number, not {text!r}"
        raise ValueError(msg) from error
