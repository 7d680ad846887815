"""The Lambda handler that people write today, honestly: what ours is measured against."""

import base64
import json
import os
from typing import Any

import boto3
import requests

BUCKET = os.environ["IMAGES_BUCKET"]
URL = os.environ["UPSTREAM_URL"] + "/generate/sd3"
TOKEN = os.environ.get("UPSTREAM_TOKEN", "")

s3 = boto3.client("s3")
session = requests.Session()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Generate, store the images one after another, and return presigned URLs."""
    request = json.loads(event["body"])
    headers = {"Authorization": f"Bearer {TOKEN}"}
    reply = session.post(URL, json=request, headers=headers, timeout=60).json()
    urls = []
    for index, image in enumerate(reply["images"]):
        key = f"{context.aws_request_id}/{index}.png"
        data = base64.b64decode(image["image_b64"])
        s3.put_object(Bucket=BUCKET, Key=key, Body=data, ContentType="image/png")
        where = {"Bucket": BUCKET, "Key": key}
        urls.append(s3.generate_presigned_url("get_object", Params=where, ExpiresIn=3600))
    body = json.dumps({"images": urls})
    return {"statusCode": 200, "headers": {"Content-Type": "application/json"}, "body": body}
