"""Draws one picture as a client would: over HTTP, with a token, and by the link in the answer."""

import requests

from local.processes import StackError

_ANSWER_SECONDS = 60
_JPEG = b"\xff\xd8\xff"


def draw(api_url: str, token: str, *, prompt: str) -> bytes:
    """The bytes of a JPEG that was drawn for `prompt`; raises StackError if it was not."""
    with requests.Session() as session:
        session.trust_env = False  # a proxy or .netrc of this machine has no part in this
        answer = session.post(
            f"{api_url}/generate/sd3",
            json={"prompt": prompt},
            headers={"Authorization": f"Bearer {token}"},
            timeout=_ANSWER_SECONDS,
        )
        if not answer.ok:
            msg = f"no picture was drawn: {answer.status_code} {answer.text[:500]}"
            raise StackError(msg)
        picture = session.get(answer.json()["images"][0]["url"], timeout=_ANSWER_SECONDS)
    if not picture.ok or not picture.content.startswith(_JPEG):
        msg = f"a picture was drawn, but its link does not lead to it: {picture.status_code}"
        raise StackError(msg)
    return picture.content
