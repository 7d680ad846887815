"""The keys of results: whatever changes the images changes the key, and nothing else does."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sd3.domain.image import Image
from sd3.domain.request import MAX_SEED, GenerateRequest
from sd3.domain.request_checks import SIZES
from sd3.domain.reuse import NOT_IN_KEY, names_every_seed, result_key
from tests.support.factories.submissions import request

OTHER: Final[dict[str, st.SearchStrategy[Any]]] = {
    "prompt": st.text(min_size=1),
    "negative_prompt": st.text(),
    "cfg_scale": st.floats(0, 50, exclude_min=True).filter(lambda one: one != 12),
    "steps": st.integers(1, 200).filter(lambda one: one != 30),
    "num_images": st.integers(2, 16),
    "width": st.sampled_from([width for width, _ in SIZES if width != 1024]),
    "height": st.sampled_from([height for _, height in SIZES if height != 1024]),
    "image_encoding": st.just("png"),
    "embed_parameters": st.booleans(),
    "placeholder": st.just("thumbhash"),
    "init_image_fit": st.sampled_from(["contain", "stretch"]),
    "strength": st.floats(0, 1, exclude_min=True).filter(lambda one: one != 0.8),
}
"""Another value than that of a request with a prompt and a seed, for each field that counts."""


def key(wanted: GenerateRequest, **values: Any) -> str:
    given: dict[str, Any] = {"client_id": "ann", "generated_by": "octoai", "scaled_size": None}
    return result_key(wanted, **(given | values))


def changed(**values: Any) -> GenerateRequest:
    return request(seed=7).model_copy(update=values)


def with_image(data: bytes) -> GenerateRequest:
    return changed(init_image=Image(data, "image/png", 64, 64))


def test_every_field_of_a_request_counts_or_is_known_not_to() -> None:
    """Who adds a field decides here which of the two it is."""
    assert {*OTHER, *NOT_IN_KEY} == set(GenerateRequest.model_fields)


@given(st.sampled_from(sorted(OTHER)).flatmap(lambda name: st.tuples(st.just(name), OTHER[name])))
def test_another_value_of_a_field_that_counts_is_another_result(field: tuple[str, Any]) -> None:
    name, value = field
    assert key(changed(**{name: value})) != key(request(seed=7, prompt="a fox"))


@given(st.integers(1, MAX_SEED), st.integers(1, MAX_SEED))
def test_seeds_count_as_what_each_image_gets(one: int, other: int) -> None:
    assert (key(changed(seed=one)) == key(changed(seed=other))) == (one == other)
    pair = changed(num_images=2, seed=one)
    assert key(pair) == key(changed(num_images=2, seed=[one, one % MAX_SEED + 1]))


@pytest.mark.parametrize(
    "same",
    [
        {"metadata": {"a": "b"}},
        {"response_format": "b64_json"},
        {"log_prompt": True},
        {"cfg_scale": 12.0},
        {"seed": [7]},
        {"negative_prompt": None},
    ],
    ids=str,
)
def test_what_changes_no_image_is_the_same_result(same: dict[str, Any]) -> None:
    assert key(request(**{"seed": 7} | same)) == key(request(seed=7))


@pytest.mark.parametrize(
    "other", [{"client_id": "bob"}, {"generated_by": "bedrock"}, {"scaled_size": (512, 512)}]
)
def test_another_client_upstream_or_size_is_another_result(other: dict[str, Any]) -> None:
    assert key(request(seed=7), **other) != key(request(seed=7))


def test_an_init_image_counts_by_its_bytes() -> None:
    inline = with_image(b"one")
    upload = inline.model_copy(update={"init_image_id": "0" * 32})
    assert key(inline) == key(upload)
    assert len({key(one) for one in (inline, with_image(b"two"), request(seed=7))}) == 3


@pytest.mark.parametrize(
    ("seed", "count", "every"),
    [(7, 3, True), ([7, 8], 2, True), (None, 1, False), ([7, None], 2, False), ([None], 1, False)],
)
def test_a_result_is_the_same_again_only_if_every_seed_is_named(
    seed: Any, count: int, every: bool
) -> None:
    assert names_every_seed(request(seed=seed, num_images=count)) is every
