"""Settings: the upstreams in the environment, and which values are rejected."""

import re

import pytest

from sd3.domain.request_checks import MAX_IMAGES
from sd3.settings import JwtScopes, JwtSettings, Rate, Settings, UpstreamSettings
from tests.support.factories.template import source


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


ISSUER = {"JWT_ISSUER": "https://issuer.example/", "JWT_AUDIENCE": "sd3"}


def test_without_an_issuer_there_are_no_jwts() -> None:
    assert Settings.from_env({"JWT_AUDIENCE": "sd3", "JWT_DAILY_BUDGET": "nonsense"}).jwts() is None


def test_an_issuer_needs_an_audience() -> None:
    with pytest.raises(ValueError, match="JWT_AUDIENCE must name an audience"):
        Settings.from_env({"JWT_ISSUER": "https://issuer.example/"}).jwts()


def test_clients_with_jwts_have_no_limits_but_those_that_are_set() -> None:
    assert Settings.from_env(ISSUER).jwts() == JwtSettings(
        issuer="https://issuer.example/", audiences=("sd3",)
    )
    limited = {
        "JWT_AUDIENCE": "1h57kf5cpq17m0eml12EXAMPLE, https://sd3.example",
        "JWT_SCOPES": "required",
        "JWT_NAME_CLAIM": "email",
        "JWT_DAILY_BUDGET": "0.000001",
        "JWT_TOTAL_DAILY_BUDGET": "999999999.999999",
        "JWT_REQUESTS_PER_MINUTE": "6000",
        "JWT_MAX_IMAGES": str(MAX_IMAGES),
    }
    assert Settings.from_env(ISSUER | limited).jwts() == JwtSettings(
        issuer="https://issuer.example/",
        audiences=("1h57kf5cpq17m0eml12EXAMPLE", "https://sd3.example"),
        scopes=JwtScopes.REQUIRED,
        name_claim="email",
        daily_budget_micros=1,
        total_daily_budget_micros=999_999_999_999_999,
        requests_per_minute=6000,
        max_images=16,
    )


@pytest.mark.parametrize(
    ("parameter", "wrong", "message"),
    [
        ("JwtAudience", [",sd3", "sd3,", "sd3,,other"], "must name an audience"),
        ("JwtScopes", ["", "none", "Required", "read"], "must be one of optional, required, igno"),
        ("JwtDailyBudget", ["-1", "5 USD", "1e3", "0.0000001", ".5", "5.", "٣"], "dollars"),
        ("JwtTotalDailyBudget", ["-1", "1,000", "1000000000"], "dollars"),
        ("JwtRequestsPerMinute", ["0", "6001", "1.5", "060", "-1", "99999"], "from 1 to 6000"),
        ("JwtMaxImages", ["0", "17", "02", "4.0", "99"], "from 1 to 16"),
    ],
)
def test_a_wrong_setting_of_jwts_is_refused_at_deploy_and_by_the_code(
    parameter: str, wrong: list[str], message: str
) -> None:
    variable = re.sub("(?<!^)(?=[A-Z])", "_", parameter).upper()
    rules = source()["Parameters"][parameter]
    allowed = rules.get("AllowedPattern") or "|".join(rules["AllowedValues"])
    for text in wrong:
        assert not re.fullmatch(allowed, text)
        with pytest.raises(ValueError, match=f"{variable} .*{message}"):
            Settings.from_env(ISSUER | {variable: text}).jwts()


@pytest.mark.parametrize(
    ("parameter", "right"),
    [
        ("JwtAudience", ["", "sd3", "api://7c1e,https://sd3.example/"]),
        ("JwtScopes", list(JwtScopes)),
        ("JwtDailyBudget", ["", "0", "5.00", "123456789.123456"]),
        ("JwtRequestsPerMinute", ["", *map(str, range(1, 6001))]),
        ("JwtMaxImages", ["", *map(str, range(1, MAX_IMAGES + 1))]),
        ("JwtNameClaim", ["", "email", "cognito:username", "https://sd3.example/name"]),
    ],
)
def test_every_right_setting_of_jwts_can_be_deployed(parameter: str, right: list[str]) -> None:
    rules = source()["Parameters"][parameter]
    allowed = rules.get("AllowedPattern") or "|".join(rules["AllowedValues"])
    assert all(re.fullmatch(allowed, text) for text in right)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("upstream", "stability"),
        ("upstream_url", "http://127.0.0.1:8000"),
        ("stability_model", "sd3.5-medium"),
        ("bedrock_model_id", "stability.sd3-large-v1:0"),
        ("bedrock_region", "us-east-1"),
        ("openai_model", "sd3"),
        ("provenance", "none"),
        ("c2pa_secret", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:sign-a1b2c3"),
    ],
)
def test_what_decides_how_images_are_made_keeps_results_apart(name: str, value: str) -> None:
    changed = Settings.from_env({name.upper(): value})
    assert changed.generated_by() != Settings().generated_by()


def test_results_are_reused_only_where_that_is_set() -> None:
    assert Settings.from_env({"REUSE_RESULTS": "seeded"}).reuses_results()
    assert not Settings.from_env({}).reuses_results()
    with pytest.raises(ValueError, match="REUSE_RESULTS must be never or seeded, not 'always'"):
        Settings.from_env({"REUSE_RESULTS": "always"}).reuses_results()
