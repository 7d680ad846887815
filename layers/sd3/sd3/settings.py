"""The settings of a deployment, which `Settings.from_env` reads from the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, NamedTuple, Self

_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,4})")

_PRICE: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,4}")


class Rate(NamedTuple):
    """A rate limit: the calls to an upstream in a window of time."""

    calls: int
    seconds: int
    """The window in which the calls are counted."""


@dataclass(frozen=True, kw_only=True)
class UpstreamSettings:
    """The settings of one upstream. None means the upstream's own default."""

    name: str
    url: str = ""
    """The base URL; empty for the vendor's own."""
    price_micros: int | None = None
    """The price of an image, in micro-dollars."""
    rate: Rate | None = None
    concurrency: int | None = None
    """The most concurrent calls; None for no limit."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings, one field for each environment variable of the same name in upper case.

    No field is a secret.
    """

    images_bucket: str = ""
    jobs_table: str = ""
    usage_table: str = ""
    clients_table: str = ""
    upstreams_table: str = ""
    queue_url: str = ""
    unprocessable_queue_url: str = ""
    event_bus: str = "default"
    max_queue_hours: int = 6
    upstream: str = "octoai"
    """The upstream's name, or several names in the order of fallback, comma-separated."""
    upstream_url: str = ""
    """Base URLs in the order of `upstream`, comma-separated. An empty one is the vendor's own."""
    upstream_price: str = ""
    """The prices of an image in dollars, in the same order."""
    upstream_rate: str = ""
    """The calls in a window of seconds (`150/10`), in the same order."""
    upstream_concurrency: str = ""
    """The most concurrent calls, in the same order."""
    upstream_secret: str = ""
    """The ARN of the Secrets Manager secret with the upstreams' keys."""
    stability_model: str = "sd3.5-large"
    bedrock_model_id: str = "stability.sd3-5-large-v1:0"
    bedrock_region: str = "us-west-2"
    openai_model: str = ""
    sync_image_steps: int = 120
    url_ttl_seconds: int = 3600
    image_retention_days: int = 30
    jwt_issuer: str = ""
    """The `iss` of the JWTs that are accepted. If it is empty, no JWT is accepted."""
    jwt_audience: str = ""
    allowed_origins: str = ""
    """The origins of web pages that may call the service, comma-separated; * for all."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings. A variable that is not set has its default.

        Raises ValueError for a value of the wrong type. The message names the variable.
        """
        values: dict[str, str | int] = {}
        for field in fields(cls):
            name = field.name.upper()
            if name in environ:
                values[field.name] = _typed(name, environ[name], field.type is int)
        return cls(**values)  # type: ignore[arg-type]

    def upstreams(self) -> tuple[UpstreamSettings, ...]:
        """Return the settings of the upstreams in their order.

        Raises ValueError for a missing name, a name that appears twice, a list that is longer than
        the names, and an invalid price, rate or number. The message names the variable.
        """
        names = _listed(self.upstream)
        if not all(names):
            raise ValueError("UPSTREAM must name an upstream, or several with commas between them")
        if len(set(names)) < len(names):
            raise ValueError("UPSTREAM must not name an upstream twice")
        urls = _beside(names, "UPSTREAM_URL", self.upstream_url)
        prices = _beside(names, "UPSTREAM_PRICE", self.upstream_price)
        rates = _beside(names, "UPSTREAM_RATE", self.upstream_rate)
        bounds = _beside(names, "UPSTREAM_CONCURRENCY", self.upstream_concurrency)
        return tuple(
            UpstreamSettings(
                name=name,
                url=url,
                price_micros=_price(price),
                rate=_rate(rate),
                concurrency=_concurrency(bound),
            )
            for name, url, price, rate, bound in zip(
                names, urls, prices, rates, bounds, strict=True
            )
        )


def _typed(name: str, text: str, whole_number: bool) -> str | int:
    if not whole_number:
        return text
    try:
        return int(text)
    except ValueError as error:
        msg = f"{name} must be a whole number, not {text!r}"
        raise ValueError(msg) from error


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",")]


def _beside(names: list[str], variable: str, text: str) -> list[str]:
    """Return the entries of a list in the order of `names`, padded with empty ones."""
    entries = _listed(text)
    if len(entries) > len(names):
        msg = f"{variable} has {len(entries)} entries, and UPSTREAM only {len(names)}"
        raise ValueError(msg)
    return entries + [""] * (len(names) - len(entries))


def _price(text: str) -> int | None:
    if text and not _PRICE.fullmatch(text):
        msg = f"UPSTREAM_PRICE must have dollars with up to 6 decimals, not {text!r}"
        raise ValueError(msg)
    whole, _, part = text.partition(".")
    return int(whole) * 1_000_000 + int(part.ljust(6, "0")) if text else None


def _rate(text: str) -> Rate | None:
    match = _RATE.fullmatch(text)
    if text and not match:
        msg = f"UPSTREAM_RATE must have calls/seconds, as 150/10, not {text!r}"
        raise ValueError(msg)
    return Rate(int(match[1]), int(match[2])) if match else None


def _concurrency(text: str) -> int | None:
    if text and not _NUMBER.fullmatch(text):
        msg = f"UPSTREAM_CONCURRENCY must have whole numbers from 1, not {text!r}"
        raise ValueError(msg)
    return int(text) if text else None
