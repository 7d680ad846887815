"""Which upstreams the service on this machine calls: the local model server, or real ones."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from ops.stacks import StackError
from sd3.http.address import checked_base_url
from sd3.settings import Settings, UpstreamSettings

OCTOAI: Final = "octoai"
"""Our API's own contract. Without a URL it is the model server of this machine."""


class Needs(NamedTuple):
    """What a real upstream cannot be called without."""

    key: bool
    url: bool


NEEDS: Final = {
    OCTOAI: Needs(key=False, url=False),
    "stability": Needs(key=True, url=False),
    "bedrock": Needs(key=True, url=False),  # the embedded AWS's own credentials are not real
    "openai": Needs(key=False, url=True),
}


@dataclass(frozen=True)
class Chosen:
    """Upstreams in their order, and the keys of those that have one, by their names."""

    upstreams: tuple[UpstreamSettings, ...]
    keys: dict[str, str]

    @property
    def is_real(self) -> bool:
        """Return whether an upstream that may cost money is called, not the model server alone."""
        return any(one.name != OCTOAI or one.url for one in self.upstreams)

    @property
    def asks_model_server(self) -> bool:
        """Return whether the model server of this machine is one of the upstreams."""
        return any(one.name == OCTOAI and not one.url for one in self.upstreams)

    def parameters(self, model_url: str) -> dict[str, str]:
        """Return the template's parameters for these upstreams."""
        urls = [one.url or (model_url if one.name == OCTOAI else "") for one in self.upstreams]
        return {
            "Upstream": ",".join(one.name for one in self.upstreams),
            "UpstreamUrl": ",".join(urls),
        }

    def secret(self, model_token: str) -> str:
        """Return the text of the secret with all keys."""
        return json.dumps({OCTOAI: model_token} | self.keys)


def choose(order: str, *, url: str = "", key_file: Path | None = None) -> Chosen:
    """Check the user's choice: names, base URLs in their order, and a file with the keys.

    The file has the key alone, or a JSON object of keys by name. Raises StackError.
    """
    try:
        upstreams = Settings(upstream=order or OCTOAI, upstream_url=url).upstreams()
        for one in upstreams:
            if one.url:
                checked_base_url(one.url)
    except ValueError as error:
        raise StackError(str(error)) from error
    if unknown := [one.name for one in upstreams if one.name not in NEEDS]:
        msg = f"there is no upstream {', '.join(unknown)}: it is one of {', '.join(NEEDS)}"
        raise StackError(msg)
    keys = _keys([one.name for one in upstreams], key_file)
    for one in upstreams:
        if NEEDS[one.name].key and one.name not in keys:
            msg = f"{one.name} needs a key: set KEY_FILE to a file with it"
            raise StackError(msg)
        if NEEDS[one.name].url and not one.url:
            msg = f"{one.name} needs a base URL: set UPSTREAM_URL"
            raise StackError(msg)
    return Chosen(upstreams, keys)


def _keys(names: list[str], key_file: Path | None) -> dict[str, str]:
    if key_file is None:
        return {}
    try:
        text = key_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"the key file cannot be read: {type(error).__name__}"
        raise StackError(msg) from error
    if not text.startswith("{"):
        if len(names) > 1:
            raise StackError('the key file of several upstreams must be JSON: {"name": "key", ...}')
        return dict.fromkeys(names, text) if text else {}
    try:
        keys = json.loads(text)
    except ValueError:
        raise StackError(
            "the key file is neither a key nor JSON"
        ) from None  # the error would quote the key
    return {name: key for name, key in keys.items() if isinstance(key, str) and key}
