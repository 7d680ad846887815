"""The program that measures: from end to end with a tiny model, and the real ones by shape."""

from dataclasses import replace

import pytest
import torch

from model_server.measure.__main__ import main
from model_server.measure.architecture import SD3_MEDIUM, SD35_LARGE, TINY, build
from model_server.measure.flops import count_work
from model_server.measure.gpus import find_peak_tflops
from model_server.measure.throughput import Speed, write_table


def test_it_draws_measures_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "tiny --dtype fp32 --pictures 1 2 --steps 1 --rounds 1 --peak-tflops 0.5"
    main(arguments.split())
    lines = capsys.readouterr().out.splitlines()
    assert f"python -m model_server.measure {arguments}" in lines
    header, _, *rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    assert header[-1] == "share of peak"
    assert [row[:2] for row in rows] == [["1", "1"], ["2", "2"]]
    for _, _, seconds, rate, memory, tflops, share in rows:
        assert min(map(float, (seconds, rate, memory, tflops))) > 0
        assert share.endswith("%")


def test_the_real_architectures_have_as_many_weights_as_the_published_ones() -> None:
    with torch.device("meta"):
        parts = (
            SD3_MEDIUM.make_transformer(),
            SD35_LARGE.make_transformer(),
            SD3_MEDIUM.make_vae(),
            *SD3_MEDIUM.make_text_encoders(),
        )
    counts = [sum(weight.numel() for weight in part.parameters()) for part in parts]
    assert counts == pytest.approx([2.03e9, 8.06e9, 83.8e6, 124e6, 695e6, 4.76e9], rel=0.005)


def test_a_step_is_counted_as_worked_out_by_hand() -> None:
    architecture = replace(TINY, transformer=SD3_MEDIUM.transformer, vae=SD3_MEDIUM.vae)
    width, layers, image, text = 1536, 24, 4096, 77 + 256
    products = 2 * 12 * width**2 * (image + text)  # attention's 4 and the feed-forward's 8
    attention = 4 * width * (image + text) ** 2
    by_hand = 2 * layers * (products + attention)  # with the prompt and without
    assert count_work(architecture, 1024).step == pytest.approx(by_hand, rel=0.02)


def test_steps_and_pixels_are_more_work() -> None:
    small, large = count_work(TINY, 512), count_work(TINY, 1024)
    assert large.reading == small.reading
    assert large.pixels > 3.9 * small.pixels
    assert large.of_picture(3) - large.of_picture(1) == 2 * large.step


def test_random_weights_are_made_in_the_format_asked_for() -> None:
    pipeline = build(TINY, device="cpu", dtype=torch.bfloat16)
    models = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert len(models) == 5
    assert {weight.dtype for model in models for weight in model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_the_share_is_of_the_peak_or_unknown() -> None:
    speed = Speed(pictures=4, drawn_at_once=2, seconds=8.0, memory_bytes=3 * 2**30)
    work = {"flops": 100 * 10**12}
    assert write_table([speed], peak_tflops=200.0, **work).splitlines()[-1] == (
        "| 4 | 2 | 8.00 | 0.500 | 3.0 | 50 | 25.0% |"
    )
    assert write_table([speed], peak_tflops=None, **work).endswith("| 50 | unknown |")


@pytest.mark.parametrize(
    ("chip", "peak"),
    [("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA L40S", 362),
     ("NVIDIA L4", 121), ("CPU x86_64", None)],
)  # fmt: skip
def test_a_chip_is_known_by_its_name(chip: str, peak: float | None) -> None:
    assert find_peak_tflops(chip) == peak
