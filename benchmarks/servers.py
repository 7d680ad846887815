"""The SD3 server and the AWS that both sides call, each in a separate process."""

import base64
import json
import random
import ssl
import struct
import sys
import zlib
from functools import cache
from pathlib import Path

from benchmarks.aws_server import aws
from benchmarks.loopback import Call, Handler, Reply, serving

SIDE = 1024
NOISY_ROWS = 512
"""Noise does not compress: half of the rows as noise make a PNG of 1.5 MB."""

OCTOAI_PATH = "/generate/sd3"
BEDROCK_PATH = "/model/"

RGB, RGBA = 2, 6
CHANNELS = {RGB: 3, RGBA: 4}
"""Of a pixel, by the number that PNG has for its colours."""


@cache
def image(noisy_rows: int = NOISY_ROWS) -> bytes:
    """Make the image of every response: always the same 1024x1024 PNG, of 1.5 MB by default."""
    return png(noisy_rows, bits=8, colour=RGB)


def png(noisy_rows: int, *, bits: int, colour: int) -> bytes:
    """Make a PNG of 1024x1024 pixels, by the bits of a channel and PNG's number of colours."""
    noise = random.Random(0)  # noqa: S311 - the same image in every run, no secret
    row = SIDE * CHANNELS[colour] * bits // 8
    rows = [b"\0" + noise.randbytes(row) for _ in range(noisy_rows)]
    rows += [bytes(row + 1)] * (SIDE - noisy_rows)
    size = struct.pack(">IIBBBBB", SIDE, SIDE, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(rows), 1)
    chunks = (b"IHDR", size), (b"IDAT", data), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sd3(noisy_rows: int = NOISY_ROWS) -> Handler:
    """Serve the images of OctoAI, of Bedrock and, at any other path, of Stability, prepared."""
    one = base64.b64encode(image(noisy_rows)).decode()
    bedrock = json.dumps({"images": [one], "seeds": [1], "finish_reasons": [None]}).encode()

    @cache
    def body(count: int) -> bytes:
        other = {"removed_for_safety": False, "safety_score": None}
        images = [{"image_b64": one, "seed": 1 + index, **other} for index in range(count)]
        return json.dumps({"images": images, "prediction_time_ms": 1.0}).encode()

    def handle(call: Call) -> Reply:
        if call.target.startswith(BEDROCK_PATH):
            return Reply(headers=[("Content-Type", "application/json")], body=bedrock)
        if call.target != OCTOAI_PATH:
            found = ("Content-Type", "image/png"), ("finish-reason", "SUCCESS"), ("seed", "1")
            return Reply(headers=found, body=image(noisy_rows))
        count = json.loads(call.body).get("num_images", 1)
        return Reply(headers=[("Content-Type", "application/json")], body=body(count))

    return handle


def main(which: str, options: str = "{}") -> None:
    """Serve `which` of the two and print its URL; stop when standard input ends.

    The options are JSON: the server's own, and `certificate` with the path of one, for TLS.
    """
    chosen = json.loads(options)
    certificate, path = chosen.pop("certificate", None), chosen.pop("stored", None)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if tls:
        tls.load_cert_chain(certificate)
    if path:
        chosen["stored"] = Path(path).read_bytes()
    with serving((sd3 if which == "sd3" else aws)(**chosen), tls=tls) as url:
        print(url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
