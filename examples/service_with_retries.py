"""Generates the images of an order, which are neither lost nor paid twice, whatever breaks.

    pip install requests tenacity
    set -a; . .local/env; python examples/service_with_retries.py order-7 'a lighthouse at dusk'

After a crash run it again with the same order: it gets the images that were paid.
"""

import logging
import sys
import time
from os import environ
from pathlib import Path
from typing import Any

import requests
from tenacity import before_sleep_log, retry, retry_if_exception, stop_after_delay
from tenacity.wait import wait_exception, wait_random_exponential

PASSING = {429, 500, 503, 504}
"""What is repeated: nothing was charged, or the same key leads to the job that may have been.
Not 502, whose job has failed and may have been charged: another one would be paid again. Not 402,
the budget of the day, nor what is wrong with the request."""

LOST = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)

service = requests.Session()
service.headers["Authorization"] = f"Bearer {environ['SD3_API_TOKEN']}"


def is_passing(error: BaseException) -> bool:
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, LOST)


def asked_pause(error: BaseException) -> float:
    response = error.response if isinstance(error, requests.HTTPError) else None
    seconds = response.headers.get("Retry-After", "") if response is not None else ""
    return float(seconds) if seconds.isdigit() else 0


@retry(
    retry=retry_if_exception(is_passing),
    wait=wait_exception(asked_pause) + wait_random_exponential(max=30),
    stop=stop_after_delay(300),
    before_sleep=before_sleep_log(logging.getLogger(__name__), logging.WARNING),
    reraise=True,
)
def call(method: str, path: str, **options: Any) -> requests.Response:
    """Call until there is an answer. The gateway's last word comes after 29 s."""
    response = service.request(method, environ["SD3_API_URL"] + path, timeout=(5, 35), **options)
    response.raise_for_status()
    return response


def generate(order: str, **fields: Any) -> Any:
    """Return the order's job when it has ended. The order's id is the key of all of its calls."""
    response = call("POST", "/generate/sd3", json=fields, headers={"Idempotency-Key": order})
    while (job := response.json())["status"] in {"queued", "running"}:
        response = call("GET", f"/jobs/{job['id']}", headers={"Prefer": "wait=20"})
        if "Preference-Applied" not in response.headers:  # too many of this client's calls wait
            time.sleep(int(response.headers.get("Retry-After", "0")))
    return job


if __name__ == "__main__":
    try:
        job = generate(sys.argv[1], prompt=sys.argv[2])
    except requests.HTTPError as error:
        sys.exit(error.response.text)
    if job["status"] != "succeeded":
        sys.exit(f"the job {job['id']} has {job['status']}: {job['error']}")
    for image in job["images"]:
        if image["url"]:  # it was not removed for safety
            found = requests.get(image["url"], timeout=35)  # a link takes no token
            found.raise_for_status()
            Path(f"{sys.argv[1]}-{image['index']}.jpg").write_bytes(found.content)
