"""A pipeline on S3: it drops files of requests into the inbox, and an event brings the images.

To run it, set CLIENT (whose folder of the inbox it is), INBOX_BUCKET and IMAGES_BUCKET (outputs of
the service's stack), and OWN_BUCKET, which keeps images for longer than the service does. Then:

    pip install boto3
    set -a; . .local/env; python examples/s3_pipeline.py foxes.json

`handler` is for a Lambda function of yours: README.md has its template.
"""

import json
import sys
from os import environ
from pathlib import Path
from typing import Any

import boto3

CLIENT, IMAGES, OWN = environ["CLIENT"], environ["IMAGES_BUCKET"], environ["OWN_BUCKET"]
s3 = boto3.client("s3")


def drop(path: Path) -> Any:
    """Put a file into the inbox, each under a name of its own; return what the service made of it.

    A request needs a "row" in its metadata, by which `handler` names its images.
    """
    s3.upload_file(str(path), environ["INBOX_BUCKET"], f"{CLIENT}/{path.name}")
    answer = f"{CLIENT}/inbox/{path.stem}.json"
    patience: Any = {"WaiterConfig": {"Delay": 1, "MaxAttempts": 120}}
    s3.get_waiter("object_exists").wait(Bucket=IMAGES, Key=answer, **patience)
    made = json.load(s3.get_object(Bucket=IMAGES, Key=answer)["Body"])
    if "code" in made:  # nothing was made of it, and no event will come
        raise ValueError(f"{path}: {made['message']}")
    return made


def handler(event: Any, _context: object) -> None:
    """Keep the images of a job that has ended. One that is told twice writes the same objects."""
    job = event["detail"]
    row = job["metadata"].get("row")
    if row is None:  # it is no job of this pipeline
        return
    if job["error"]:
        s3.put_object(Bucket=OWN, Key=f"{row}/error.json", Body=json.dumps(job["error"]))
    for image in job["images"]:
        if image["key"]:  # it was made, and not removed for safety
            made = f"{image['bucket']}/{image['key']}"
            s3.copy_object(Bucket=OWN, Key=f"{row}/{Path(image['key']).name}", CopySource=made)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, drop(Path(name))["status"])
