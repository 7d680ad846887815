"""Generates one image as a client would: over HTTP, with a token, and by the link in the answer."""

import requests

from ops.stacks import StackError

_ANSWER_SECONDS = 60
_JPEG = b"\xff\xd8\xff"


def generate(api_url: str, token: str, *, prompt: str) -> bytes:
    """The bytes of a JPEG that was generated for `prompt`; raises StackError if it was not."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy or .netrc of this machine has no part in this
        answer = session.post(
            f"{api_url}/generate/sd3",
            json={"prompt": prompt},
            headers={"Authorization": f"Bearer {token}"},
            timeout=_ANSWER_SECONDS,
        )
        if not answer.ok:
            msg = f"no image was generated: {answer.status_code} {answer.text[:500]}"
            raise StackError(msg)
        image = session.get(answer.json()["images"][0]["url"], timeout=_ANSWER_SECONDS)
    if not image.ok or not image.content.startswith(_JPEG):
        msg = f"an image was generated, but its link does not lead to it: {image.status_code}"
        raise StackError(msg)
    return image.content
