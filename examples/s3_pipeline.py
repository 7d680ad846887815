"""A pipeline on S3: it drops a file of requests into the inbox, and an event brings the images.

To run it, set CLIENT (whose folder of the inbox it is), INBOX_BUCKET and IMAGES_BUCKET (outputs of
the service's stack), and OWN_BUCKET, which keeps images for longer than the service does. Then:

    pip install boto3
    echo '{"custom_id": "fox", "prompt": "a fox at dusk"}' > foxes.jsonl
    set -a; . .local/env; python examples/s3_pipeline.py foxes.jsonl

`handler` is for a Lambda function of yours: README.md has its template.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import environ
from pathlib import Path
from typing import Any

import boto3

CLIENT, IMAGES, OWN = environ["CLIENT"], environ["IMAGES_BUCKET"], environ["OWN_BUCKET"]
s3 = boto3.client("s3")


def drop(path: Path) -> Any:
    """Put a file into the inbox, and return the batch that it became. Each has its own name."""
    s3.upload_file(str(path), environ["INBOX_BUCKET"], f"{CLIENT}/{path.name}")
    answer = f"{CLIENT}/inbox/{path.stem}.json"
    patience: Any = {"WaiterConfig": {"Delay": 1, "MaxAttempts": 120}}
    s3.get_waiter("object_exists").wait(Bucket=IMAGES, Key=answer, **patience)
    made = json.load(s3.get_object(Bucket=IMAGES, Key=answer)["Body"])
    if "code" in made:  # it became none, and no event will come
        raise ValueError(f"{path}: {made['message']}")
    return made


def handler(event: Any, _context: object) -> None:
    """Keep the images of a batch that has ended. One that is told twice writes the same objects."""
    batch = event["detail"]
    if batch["results"]:  # else the whole file was refused, as batch["error"] says
        file = s3.get_object(Bucket=batch["results"]["bucket"], Key=batch["results"]["key"])
        lines = map(json.loads, file["Body"].iter_lines())
        with ThreadPoolExecutor(10) as threads:
            list(threads.map(partial(keep, batch["id"]), lines))  # and raise what one has raised
    # It comes last, so where it is, all is there.
    s3.put_object(Bucket=OWN, Key=f"{batch['id']}/batch.json", Body=json.dumps(batch))


def keep(batch_id: str, line: Any) -> None:
    """Copy the images of a line to the own bucket, or write why there are none."""
    folder = f"{batch_id}/{line['custom_id'] or line['line']}"
    if line["error"]:
        s3.put_object(Bucket=OWN, Key=f"{folder}/error.json", Body=json.dumps(line["error"]))
    for image in line["response"]["images"] if line["response"] else []:
        if image["key"]:  # it was made, and not removed for safety
            made = f"{image['bucket']}/{image['key']}"
            s3.copy_object(Bucket=OWN, Key=f"{folder}/{Path(image['key']).name}", CopySource=made)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(name, drop(Path(name))["status"])
