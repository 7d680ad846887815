"""What programs of others read in a marked file: Pillow, ExifTool and sd-parsers."""

import json
import shutil
import subprocess
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PillowImage
from sd_parsers import ParserManager

from sd3.domain.generation import GeneratedImage
from sd3.domain.image import read_image
from sd3.domain.parameters import parameters_of
from sd3.domain.provenance import SOURCE_TYPES, TRAINED, Facts, packet_of
from sd3.domain.request import GenerateRequest
from sd3.domain.xmp import embed
from tests.support.factories.images import jpeg, png, webp
from tests.support.octoai_sdks import NPM_FOLDER

EXIFTOOL = NPM_FOLDER / "node_modules/exiftool-vendored.pl/bin/exiftool"
PROMPT = 'a <fox>, \N{FOX FACE} & "snow"\nin two lines'
FILES = {"jpeg": jpeg(), "png": png(), "webp": webp(), "lossless": webp(lossless=True)}
REQUEST = GenerateRequest(
    prompt=PROMPT, negative_prompt="no dogs", steps=28, cfg_scale=4.5, width=1024, height=1024
)


def marked(data: bytes) -> bytes:
    """Mark a file as the mode `full` does."""
    image = read_image(data)
    generated = GeneratedImage(7, image)
    facts = Facts(
        job_id="job-1", index=0, client_id="ann", seed=7, source_type=TRAINED, upstream="stability",
        model="sd3.5-large", created_at=datetime(2026, 11, 27, 12, tzinfo=UTC), prompt=PROMPT,
    )  # fmt: skip
    packet = packet_of(facts, data, b"secret")
    text = parameters_of(REQUEST, generated, model="sd3.5-large", strength=None, ignored=("steps",))
    return embed(data, image.content_type, packet, parameters=text)


EACH = pytest.mark.parametrize("data", FILES.values(), ids=FILES)


@EACH
def test_pillow_reads_the_packet(data: bytes) -> None:
    with PillowImage.open(BytesIO(marked(data))) as opened:
        xmp: Any = opened.getxmp()
    description = xmp["xmpmeta"]["RDF"]["Description"]
    assert description["DigitalSourceType"] == f"{SOURCE_TYPES}trainedAlgorithmicMedia"
    assert (description["AISystemUsed"], description["AIPromptInformation"]) == (
        "stability",
        PROMPT,
    )


@EACH
def test_exiftool_reads_the_packet_and_finds_no_fault(data: bytes, tmp_path: Path) -> None:
    perl = shutil.which("perl")
    if perl is None:
        pytest.skip("ExifTool needs perl, which is not on this machine")
    file = tmp_path / "image"
    file.write_bytes(marked(data))
    [found] = json.loads(exiftool(perl, "-json", "-G1", file))
    assert found["XMP-iptcExt:DigitalSourceType"] == f"{SOURCE_TYPES}trainedAlgorithmicMedia"
    assert found["XMP-xmp:CreateDate"] == "2026:11:27 12:00:00Z"
    _, *faults = exiftool(perl, "-validate", "-a", "-s3", "-warning", "-error", file).splitlines()
    # Cameras write all of EXIF's tags. Tools of Stable Diffusion write the comment alone, as we do.
    assert [fault for fault in faults if not fault.startswith("Missing required JPEG")] == []


def exiftool(perl: str, *arguments: str | Path) -> str:
    command = [perl, str(EXIFTOOL), *map(str, arguments)]
    run = subprocess.run(command, capture_output=True, check=True, text=True)  # noqa: S603 - our file
    return run.stdout


@EACH
def test_tools_of_stable_diffusion_read_the_parameters(data: bytes) -> None:
    with PillowImage.open(BytesIO(marked(data))) as opened:
        found = ParserManager().parse(opened)
    assert found
    [prompt] = found.prompts
    [negative] = found.negative_prompts
    [sampler] = found.samplers
    assert (prompt.value, negative.value) == (PROMPT, "no dogs")
    assert (sampler.parameters["seed"], sampler.parameters["steps"]) == ("7", "28")
    assert sampler.parameters["cfg_scale"] == "4.5"
    assert found.metadata["Size"] == "64x64"
    assert found.metadata["Not followed"] == "steps"
