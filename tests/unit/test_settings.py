"""Settings: the upstreams in the environment, and which values are rejected."""

import pytest

from sd3.settings import Rate, Settings, UpstreamSettings


def test_one_upstream_without_more_has_its_own_defaults() -> None:
    assert Settings.from_env({"UPSTREAM": "stability"}).upstreams() == (
        UpstreamSettings(name="stability"),
    )


def test_lists_are_read_in_the_order_of_the_upstreams() -> None:
    settings = Settings.from_env(
        {
            "UPSTREAM": "stability, bedrock,openai",
            "UPSTREAM_URL": ",,http://10.0.0.5:8000",
            "UPSTREAM_PRICE": "0.065,,0.000001",
            "UPSTREAM_RATE": "150/10",
            "UPSTREAM_CONCURRENCY": ",,2",
        }
    )
    assert settings.upstreams() == (
        UpstreamSettings(name="stability", price_micros=65_000, rate=Rate(150, 10)),
        UpstreamSettings(name="bedrock"),
        UpstreamSettings(name="openai", url="http://10.0.0.5:8000", price_micros=1, concurrency=2),
    )


@pytest.mark.parametrize(
    ("text", "micros"), [("0", 0), ("0.03", 30_000), ("12", 12_000_000), ("0.1234", 123_400)]
)
def test_prices_are_exact(text: str, micros: int) -> None:
    [one] = Settings(upstream_price=text).upstreams()
    assert one.price_micros == micros


@pytest.mark.parametrize(
    ("variable", "text", "message"),
    [
        ("UPSTREAM", "", "must name an upstream"),
        ("UPSTREAM", "octoai,", "must name an upstream"),
        ("UPSTREAM", "octoai,octoai", "twice"),
        ("UPSTREAM_URL", "https://a,https://b", "UPSTREAM_URL has 2 entries"),
        ("UPSTREAM_PRICE", "-1", "UPSTREAM_PRICE must have dollars"),
        ("UPSTREAM_PRICE", "0.0000001", "UPSTREAM_PRICE must have dollars"),
        ("UPSTREAM_RATE", "150", "UPSTREAM_RATE must have calls/seconds"),
        ("UPSTREAM_RATE", "0/10", "UPSTREAM_RATE must have calls/seconds"),
        ("UPSTREAM_CONCURRENCY", "0", "UPSTREAM_CONCURRENCY must have whole numbers"),
        ("SYNC_IMAGE_STEPS", "many", "SYNC_IMAGE_STEPS must be a whole number"),
    ],
)
def test_an_invalid_value_is_rejected_by_its_name(variable: str, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings.from_env({variable: text}).upstreams()
