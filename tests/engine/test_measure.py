"""The program that measures: end to end with a tiny model, and the real ones by their shapes."""

from dataclasses import replace

import pytest
import torch

from model_server.measure.__main__ import main
from model_server.measure.architecture import SD3_MEDIUM, SD35_LARGE, TINY, build_pipeline
from model_server.measure.flops import count_flops
from model_server.measure.gpus import find_peak_tflops
from model_server.measure.throughput import Throughput, format_table


def test_it_generates_images_and_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "tiny --dtype fp32 --images 1 2 --steps 1 --rounds 1 --peak-tflops 0.5"
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


def test_the_flops_of_a_step_are_those_worked_out_by_hand() -> None:
    architecture = replace(TINY, transformer=SD3_MEDIUM.transformer, vae=SD3_MEDIUM.vae)
    width, layers, image, text = 1536, 24, 4096, 77 + 256
    products = 2 * 12 * width**2 * (image + text)  # 4 of the attention and 8 of the feed-forward
    attention = 4 * width * (image + text) ** 2
    by_hand = 2 * layers * (products + attention)  # with the prompt and without it
    assert count_flops(architecture, 1024).step == pytest.approx(by_hand, rel=0.02)


def test_more_steps_and_more_pixels_take_more_flops() -> None:
    small, large = count_flops(TINY, 512), count_flops(TINY, 1024)
    assert large.text_encoding == small.text_encoding
    assert large.decoding > 3.9 * small.decoding
    assert large.total(3) - large.total(1) == 2 * large.step


def test_random_weights_have_the_requested_dtype() -> None:
    pipeline = build_pipeline(TINY, device="cpu", dtype=torch.bfloat16)
    models = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    assert len(models) == 5
    assert {weight.dtype for model in models for weight in model.parameters()} == {torch.bfloat16}
    assert torch.get_default_dtype() == torch.float32


def test_the_share_is_of_the_peak_and_unknown_without_one() -> None:
    measured = Throughput(images=4, batch_size=2, seconds=8.0, memory_bytes=3 * 2**30)
    flops = {"flops": 100 * 10**12}
    assert format_table([measured], peak_tflops=200.0, **flops).splitlines()[-1] == (
        "| 4 | 2 | 8.00 | 0.500 | 3.0 | 50 | 25.0% |"
    )
    assert format_table([measured], peak_tflops=None, **flops).endswith("| 50 | unknown |")


@pytest.mark.parametrize(
    ("gpu", "peak"),
    [("NVIDIA H100 80GB HBM3", 989), ("NVIDIA H100 PCIe", 756), ("NVIDIA L40S", 362),
     ("NVIDIA L4", 121), ("CPU x86_64", None)],
)  # fmt: skip
def test_the_peak_of_a_gpu_is_found_by_its_name(gpu: str, peak: float | None) -> None:
    assert find_peak_tflops(gpu) == peak
