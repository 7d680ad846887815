"""Generates one image as a client would: over HTTP, with a token, through the response's link."""

import requests

from ops.stacks import StackError

_TIMEOUT_SECONDS = 60
_LOG = ".local/ministack.log"
"""Where the embedded AWS writes the logs of functions too."""
_JPEG = b"\xff\xd8\xff"


def generate(api_url: str, token: str, *, prompt: str) -> bytes:
    """Generate a JPEG and download it; raises StackError when either fails."""
    with requests.Session() as session:
        session.trust_env = False  # ignore proxies and .netrc of this machine
        response = session.post(
            f"{api_url}/generate/sd3",
            json={"prompt": prompt},
            headers={"Authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_SECONDS,
        )
        if not response.ok:
            msg = (
                f"no image was generated: {response.status_code} {response.text[:500]}: see {_LOG}"
            )
            raise StackError(msg)
        image = session.get(response.json()["images"][0]["url"], timeout=_TIMEOUT_SECONDS)
    if not image.ok or not image.content.startswith(_JPEG):
        msg = f"an image was generated, but its link does not lead to it: {image.status_code}"
        raise StackError(msg)
    return image.content
