"""What is to be deployed, and where: a section of samconfig.toml over the template's defaults."""

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import cfnlint.decode

from sd3.http.address import checked_base_url

ROOT: Final = Path(__file__).resolve().parents[1]

_FOLLOWED: Final = frozenset({
    "stack_name", "region", "profile", "s3_bucket", "role_arn", "parameter_overrides", "tags",
    "resolve_s3", "capabilities", "confirm_changeset", "fail_on_empty_changeset",
})  # fmt: skip
"""SAM's settings that have here the meaning that they have for `sam deploy`. The last four are
always as a terminal or continuous integration needs them."""
_STACK_NAME: Final = re.compile("[A-Za-z][A-Za-z0-9-]{0,127}")
_PLACEHOLDER: Final = re.compile(r"(.+\.)?example(\.com|\.net|\.org)?")
_NEED_URL: Final = frozenset({"octoai", "openai"})
_NEED_KEY: Final = frozenset({"octoai", "stability"})


class SettingsError(Exception):
    """What is to be deployed cannot be read; the message says where it stands and what is wrong."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """One stack, and the values of its template's parameters."""

    stack: str
    region: str | None = None
    """The region that the settings name. Without one, it is that of the caller's AWS settings."""
    profile: str | None = None
    """The profile that the settings name, of the caller's AWS settings."""
    bucket: str = ""
    """Bucket for what is built. Without one, it is SAM's own of the account and region."""
    role: str = ""
    """Role that CloudFormation takes on. Without one, it has the caller's permissions."""
    given: Mapping[str, str]
    declared: Mapping[str, Mapping[str, Any]]
    """The template's section Parameters."""
    tags: Mapping[str, str]

    def parameters(self) -> dict[str, str]:
        """Return all parameters: what is not given has the template's default."""
        defaults = {name: str(each.get("Default", "")) for name, each in self.declared.items()}
        return defaults | {name: self.given[name] for name in defaults if name in self.given}

    def sent_parameters(self) -> list[dict[str, str]]:
        """Return all parameters as CloudFormation takes them."""
        return [
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in self.parameters().items()
        ]

    def session(self) -> boto3.Session:
        """Return a session in the stack's region, with the caller's credentials."""
        return boto3.Session(region_name=self.region, profile_name=self.profile)


def read_deployment(
    section: str,
    *,
    changed: str = "",
    config: Path = ROOT / "samconfig.toml",
    template: Path = ROOT / "template.yaml",
) -> Deployment:
    """Read a section of SAM's configuration; `changed` is NAME=VALUE texts that go before its own.

    Raises SettingsError.
    """
    sections = tomllib.loads(config.read_text())
    if not isinstance(sections.get(section), dict):
        named = ", ".join(name for name, value in sections.items() if isinstance(value, dict))
        raise SettingsError(f"{config.name} has no section {section!r}, only {named}")
    settings: dict[str, Any] = {}
    for command in ("global", "deploy"):
        settings |= sections[section].get(command, {}).get("parameters", {})
    if strange := sorted(set(settings) - _FOLLOWED):
        raise SettingsError(f"section {section!r} sets {', '.join(strange)}: not followed here")
    decoded, problems = cfnlint.decode.decode(str(template))
    if decoded is None:
        raise SettingsError(f"{template}: {problems[0].message}")
    return Deployment(
        stack=settings.get("stack_name", ""),
        region=settings.get("region"),
        profile=settings.get("profile"),
        bucket=settings.get("s3_bucket", ""),
        role=settings.get("role_arn", ""),
        given=pairs(settings.get("parameter_overrides", ())) | pairs(changed),
        declared=decoded["Parameters"],
        tags=pairs(settings.get("tags", ())),
    )


def pairs(items: str | Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE texts as SAM does: a list or one text, with quotes around spaces.

    Raises SettingsError.
    """
    texts = shlex.split(items if isinstance(items, str) else " ".join(items))
    for text in texts:
        if "=" not in text or text.startswith("ParameterKey="):
            raise SettingsError(f"expected NAME=VALUE, with quotes around spaces: {text!r}")
    return {name: value for name, _, value in (text.partition("=") for text in texts)}


def faults(deployment: Deployment) -> Iterator[str]:
    """Yield what cannot be deployed anywhere, whatever the account holds."""
    if not _STACK_NAME.fullmatch(deployment.stack):
        yield f"the stack's name {deployment.stack!r} is not 1 to 128 letters, digits and hyphens"
    for name in deployment.given:
        if name not in deployment.declared:
            yield f"{name} is no parameter of the template: docs/settings.md lists them"
    values = deployment.parameters()
    for name, declared in deployment.declared.items():
        if not _is_allowed(values[name], declared):
            rule = declared.get("ConstraintDescription") or declared["Description"]
            yield f"{name} cannot be {values[name]!r}: {rule}"
    yield from _upstream_faults(values)


def _is_allowed(value: str, declared: Mapping[str, Any]) -> bool:
    if declared["Type"] == "Number":
        low, high = declared.get("MinValue", 0), declared.get("MaxValue", 2**31)
        return value.isascii() and value.isdigit() and low <= int(value) <= high
    return (
        value in declared.get("AllowedValues", [value])
        and re.fullmatch(declared.get("AllowedPattern", "(?s).*"), value) is not None
        and len(value) <= declared.get("MaxLength", len(value))
    )


def _upstream_faults(values: Mapping[str, str]) -> Iterator[str]:
    upstreams = values["Upstream"].split(",")
    urls = values["UpstreamUrl"].split(",")
    for index, upstream in enumerate(upstreams):
        url = urls[index] if index < len(urls) else ""
        if not url and upstream in _NEED_URL:
            yield f"{upstream} needs its base URL: set UpstreamUrl, in the order of Upstream"
        if _PLACEHOLDER.fullmatch(urlsplit(url).hostname or ""):
            yield f"UpstreamUrl is still {url}: write the URL of your own {upstream}"
        elif url:
            try:
                checked_base_url(url)
            except ValueError as error:
                yield f"UpstreamUrl of {upstream}: {error}"
            if url.startswith("http:") and not values["SubnetIds"]:
                yield f"{url} is private: set SubnetIds and SecurityGroupIds to call it from a VPC"
    if not values["UpstreamSecretArn"] and (keyless := sorted(_NEED_KEY & {*upstreams})):
        yield f"no key for {' and '.join(keyless)}: set UpstreamSecretArn to a secret with it"
