"""The settings of a deployment, which `Settings.from_env` reads from the environment."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, NamedTuple, Self

_RATE: Final = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,4})")

_PRICE: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,6})?")

_NUMBER: Final = re.compile(r"[1-9][0-9]{0,4}")

_BUDGET: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,6})?")

_MAX_PER_MINUTE: Final = 6000
"""What the gateway lets through of `POST /generate/sd3`, for all clients together."""

_MAX_IMAGES: Final = 16
"""The most images that a request can ask for."""


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


class ReuseResults(StrEnum):
    """Which requests an earlier result of the same client may answer."""

    NEVER = "never"
    SEEDED = "seeded"
    """Those that name every seed."""


class JwtScopes(StrEnum):
    """What the scopes of a JWT decide."""

    OPTIONAL = "optional"
    """A JWT without any claim of scopes has all of ours. Another one has those that it names."""
    REQUIRED = "required"
    """A JWT has those of our scopes that it names."""
    IGNORED = "ignored"
    """Every JWT has all of our scopes."""


@dataclass(frozen=True, kw_only=True)
class JwtSettings:
    """Whose JWTs are accepted, and what their clients may do."""

    issuer: str
    audiences: tuple[str, ...]
    scopes: JwtScopes = JwtScopes.OPTIONAL
    name_claim: str = ""
    """The claim with a name for people; empty for none."""
    daily_budget_micros: int | None = None
    """Micro-dollars a day of each client."""
    total_daily_budget_micros: int | None = None
    """Micro-dollars a day of all of them together."""
    requests_per_minute: int | None = None
    max_images: int | None = None


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
    webhooks_table: str = ""
    deliveries_queue_url: str = ""
    webhook_concurrency: int = 10
    """The attempts at deliveries at the same time, to all hosts."""
    event_bus: str = "default"
    max_queue_hours: int = 6
    worker_concurrency: int = 10
    """The queued jobs that are generated at the same time."""
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
    c2pa_secret: str = ""
    """The ARN of the secret with the key that signs images; empty for unsigned images."""
    stability_model: str = "sd3.5-large"
    bedrock_model_id: str = "stability.sd3-5-large-v1:0"
    bedrock_region: str = "us-west-2"
    url_suffix: str = "amazonaws.com"
    """The domain of AWS's services in this partition."""
    openai_model: str = ""
    sync_image_steps: int = 120
    reuse_results: str = "never"
    waits_per_client: int = 50
    """The waits for jobs that a client may begin in 20 s."""
    provenance: str = "basic"
    master_secret: str = ""
    """The name of the Secrets Manager secret that our own signatures are made with."""
    url_ttl_seconds: int = 900
    image_retention_days: int = 30
    jwt_issuer: str = ""
    """The `iss` of the JWTs that are accepted. If it is empty, no JWT is accepted."""
    jwt_audience: str = ""
    """The `aud` that these JWTs may have, comma-separated."""
    jwt_scopes: str = "optional"
    jwt_name_claim: str = ""
    """The claim whose text is shown beside the client id."""
    jwt_daily_budget: str = ""
    """Dollars a day of each client with a JWT."""
    jwt_total_daily_budget: str = ""
    """Dollars a day of all of them together."""
    jwt_requests_per_minute: str = ""
    jwt_max_images: str = ""
    client_urls: str = "public"
    """Which addresses requests may name: public, none or loopback."""
    allowed_origins: str = ""
    """The origins of web pages that may call the service, comma-separated; * for all."""
    playground: str = "true"
    """Whether there is a GET /playground: true or false."""

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

    def reuses_results(self) -> bool:
        """Return whether results are reused. Raises ValueError for a value that is none."""
        if self.reuse_results not in list(ReuseResults):
            msg = f"REUSE_RESULTS must be {' or '.join(ReuseResults)}, not {self.reuse_results!r}"
            raise ValueError(msg)
        return self.reuse_results == ReuseResults.SEEDED

    def generated_by(self) -> str:
        """Name all settings that decide which files a request gets, for keys of results."""
        asked = (self.upstream, self.upstream_url, self.bedrock_region)
        models = (self.stability_model, self.bedrock_model_id, self.openai_model)
        return json.dumps([*asked, *models, self.provenance, self.c2pa_secret])

    def jwts(self) -> JwtSettings | None:
        """Return the settings of JWTs, or None if no JWT is accepted.

        Raises ValueError for an issuer without an audience, and for an invalid value. The message
        names the variable.
        """
        if not self.jwt_issuer:
            return None
        audiences = _listed(self.jwt_audience)
        if not all(audiences):
            raise ValueError("JWT_AUDIENCE must name an audience, or several with commas between")
        if self.jwt_scopes not in list(JwtScopes):
            msg = f"JWT_SCOPES must be one of {', '.join(JwtScopes)}, not {self.jwt_scopes!r}"
            raise ValueError(msg)
        return JwtSettings(
            issuer=self.jwt_issuer,
            audiences=tuple(audiences),
            scopes=JwtScopes(self.jwt_scopes),
            name_claim=self.jwt_name_claim,
            daily_budget_micros=_budget("JWT_DAILY_BUDGET", self.jwt_daily_budget),
            total_daily_budget_micros=_budget(
                "JWT_TOTAL_DAILY_BUDGET", self.jwt_total_daily_budget
            ),
            requests_per_minute=_up_to(
                _MAX_PER_MINUTE, "JWT_REQUESTS_PER_MINUTE", self.jwt_requests_per_minute
            ),
            max_images=_up_to(_MAX_IMAGES, "JWT_MAX_IMAGES", self.jwt_max_images),
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
    return _micros(text) if text else None


def _budget(variable: str, text: str) -> int | None:
    if text and not _BUDGET.fullmatch(text):
        msg = f"{variable} must be dollars with up to 6 decimals, as 5.00, not {text!r}"
        raise ValueError(msg)
    return _micros(text) if text else None


def _micros(dollars: str) -> int:
    whole, _, part = dollars.partition(".")
    return int(whole) * 1_000_000 + int(part.ljust(6, "0"))


def _up_to(largest: int, variable: str, text: str) -> int | None:
    if text and not (_NUMBER.fullmatch(text) and int(text) <= largest):
        msg = f"{variable} must be a whole number from 1 to {largest}, not {text!r}"
        raise ValueError(msg)
    return int(text) if text else None


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
