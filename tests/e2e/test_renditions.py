"""Renditions through the deployed stack: made once, of use to each kind of client, and deleted."""

import io

import requests
from PIL import Image

from local.stack import Stack


def test_a_rendition_is_made_once_fetched_by_all_and_deleted_with_its_job(
    stack: Stack, client: requests.Session
) -> None:
    body = {"prompt": "a fox", "seed": 1, "placeholder": "thumbhash"}
    generated = client.post(f"{stack.api_url}/generate/sd3", json=body, timeout=60).json()
    assert len(generated["images"][0]["thumbhash"]) == 32
    address = f"{stack.api_url}/jobs/{generated['id']}"
    bucket = stack.deployed.resource("ImagesBucket")

    def stored() -> list[str]:
        listed = stack.deployed.client("s3").list_objects_v2(Bucket=bucket, Prefix="_renditions/")
        keys = [found["Key"] for found in listed.get("Contents", ())]
        return [key.rpartition("/")[2] for key in keys if f"/{generated['id']}/" in key]

    browser = {"Accept": "image/avif,image/webp,*/*"}
    for _ in range(2):  # it is made, and found
        redirect = client.get(
            f"{address}/images/0?width=256", headers=browser, allow_redirects=False, timeout=60
        )
        assert (redirect.status_code, stored()) == (302, ["0.w256.avif"])
    with requests.Session() as without_token:
        without_token.trust_env = False
        fetched = without_token.get(redirect.headers["Location"], timeout=60)
        made = Image.open(io.BytesIO(fetched.content))
        assert (fetched.headers["Content-Type"], made.format) == ("image/avif", "AVIF")
        assert made.getextrema()
        assert made.size == (256, 256)
        assert b"algorithmicMedia" in made.info["xmp"]
        assert fetched.headers["Cache-Control"] == "private, max-age=86400, immutable"
        link = client.get(
            f"{address}/images/0?width=64&format=jpeg&download=F%C3%BCchse",
            headers={"Accept": "application/json"},
            timeout=60,
        ).json()
        saved = without_token.get(link["url"], timeout=60)
        assert saved.headers["Content-Disposition"].endswith("filename*=UTF-8''F%C3%BCchse.jpg")
        assert (link["bytes"], link["width"]) == (len(saved.content), 64)
        assert client.get(f"{address}/images/0?width=1", timeout=60).status_code == 422
        assert client.delete(address, timeout=60).status_code == 204
        assert stored() == []
        assert without_token.get(link["url"], timeout=60).status_code in {403, 404}
