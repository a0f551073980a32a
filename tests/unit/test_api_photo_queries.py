"""Asking with photos, with several things at once, and without something."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models.image import ImageStatus
from models.prompt import Prompt
from serve_app.compose_query import KIND, NEGATIVE, PHOTO, WORDS
from serve_app.garment_words import NAMES
from serve_app.photos import prepare_photo
from serve_app.ports import Pixels, Vector
from tests.drawings import garment
from tests.fakes import DIMENSION, MODEL, vector_of
from tests.shop_client import RECOMMENDATIONS, ShopClient, assert_problem, base64_text
from tests.unit.conftest import FakeService

RED, BLUE = garment(colour="red"), garment(colour="blue")
SEEN = {RED: "red dress", BLUE: "blue dress"}
LOOKS = ("red dress", "blue dress", "red hat", "blue coat", "green scarf")
B64, BROKEN = base64_text(RED), base64_text(b"GIF89a")


@pytest.fixture(autouse=True)
def _eyes(service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The image tower sees what ``SEEN`` says of a photo."""
    known = {prepare_photo(photo, MODEL.geometry).tobytes(): text for photo, text in SEEN.items()}

    async def embed(pixels: Pixels) -> Vector:
        return np.stack([vector_of(known[one.tobytes()]) for one in pixels])

    monkeypatch.setattr(service.image_embedder, "embed", embed)


@pytest.fixture
def stock(service: FakeService, shop: ShopClient) -> dict[str, int]:
    """The ids of photos whose vectors are those of their looks."""
    ids = {name: shop.add(garment(seed=at), name=name)["ImageID"] for at, name in enumerate(LOOKS)}
    for name, image_id in ids.items():
        service.embed(shop.shop_id, image_id, vector_of(name))
    return ids


def post(shop: ShopClient, **body: Any) -> Any:
    return shop.request("POST", RECOMMENDATIONS, json={"number_of_images": 100} | body)


def scores(answer: Any) -> dict[str, float]:
    assert answer.status_code == 200, answer.text
    return {one["name"]: one["score"] for one in answer.json()["recommendations"]}


def expected(query: Vector) -> dict[str, float]:
    """Cosines with every look, best first."""
    cosines = {name: float(vector_of(name) @ query / np.linalg.norm(query)) for name in LOOKS}
    return {
        name: pytest.approx(cosine, abs=2e-6)
        for name, cosine in sorted(cosines.items(), key=lambda pair: -pair[1])
    }


def kind_of(photo: Vector) -> Vector:
    names = np.stack([vector_of(name) for name in NAMES])
    weights = np.exp(MODEL.logit_scale * (names @ photo))
    return np.asarray((weights / weights.sum()) @ names)


def neutral() -> Vector:
    return np.mean([vector_of(name) for name in NAMES], axis=0)


def test_every_way_to_send_a_photo_is_answered_alike(shop: ShopClient, stock: dict[str, int]) -> None:
    form = {"number_of_images": "100"}
    answers = [
        post(shop, Photo=B64),
        post(shop, Photo=f"data:image/jpeg;base64,{B64}"),
        post(shop, queries=[{"Photo": B64, "weight": 7}]),
        shop.request("POST", RECOMMENDATIONS, data=form, files={"Photo": ("a.jpg", RED, "image/jpeg")}),
        shop.request("POST", RECOMMENDATIONS, data=form | {"Photo": B64}),
        shop.request("POST", RECOMMENDATIONS, data=form | {"queries": json.dumps([{"Photo": B64}])}),
    ]
    for answer in answers:
        assert list(scores(answer).items()) == list(expected(vector_of("red dress")).items())
    by_id = scores(post(shop, image_id=stock["red dress"]))
    others = expected(vector_of("red dress"))
    assert by_id == {name: score for name, score in others.items() if name != "red dress"}


def test_like_this_but_in_red(shop: ShopClient, stock: dict[str, int]) -> None:
    photo = vector_of("blue dress")
    query = PHOTO * photo + WORDS * vector_of("but in red") + KIND * kind_of(photo)
    assert scores(post(shop, Photo=base64_text(BLUE), prompt="but in red")) == expected(query)
    queries = [{"Photo": base64_text(BLUE), "weight": 3}, {"prompt": "but in red", "weight": 3}]
    assert scores(post(shop, queries=queries)) == expected(query)
    body = {"image_id": str(stock["blue dress"]), "prompt": "but in red"}
    found = scores(shop.request("POST", RECOMMENDATIONS, data=body))
    assert found == {name: score for name, score in expected(query).items() if name != "blue dress"}


@pytest.mark.parametrize("prompt", ["shoes like this", "Red SCARVES", "a hat"])
@pytest.mark.usefixtures("stock")
def test_words_that_name_a_garment_have_the_say_about_its_kind(shop: ShopClient, prompt: str) -> None:
    query = PHOTO * vector_of("red dress") + WORDS * vector_of(prompt)
    assert scores(post(shop, Photo=B64, prompt=prompt)) == expected(query)


def test_parts_pull_with_their_weights(shop: ShopClient, stock: dict[str, int]) -> None:
    queries = [{"prompt": "red", "weight": 2}, {"prompt": "hat"}, {"image_id": stock["green scarf"]}]
    photo = vector_of("green scarf")
    query = PHOTO * 0.5 * photo + WORDS * (vector_of("red") + 0.5 * vector_of("hat"))
    found = scores(post(shop, queries=queries))
    assert found == {name: score for name, score in expected(query).items() if name != "green scarf"}
    words = scores(post(shop, queries=queries[:2]))
    assert words == expected(vector_of("red") + 0.5 * vector_of("hat"))


@pytest.mark.usefixtures("stock")
def test_what_the_photos_should_not_show(shop: ShopClient) -> None:
    subtracted = NEGATIVE * (vector_of("blue") - neutral())
    found = scores(post(shop, prompt="dress", negative_prompt="blue"))
    assert found == expected(vector_of("dress") - subtracted)
    photo = vector_of("blue dress")
    query = PHOTO * photo - WORDS * subtracted + KIND * kind_of(photo)
    assert scores(post(shop, Photo=base64_text(BLUE), negative_prompt="blue")) == expected(query)


@pytest.mark.usefixtures("stock")
def test_a_prompt_alone_costs_one_embedding_and_stays_as_it_is(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    embed, query = service.text_embedder.embed, service.index.query

    async def counted(prompt: str) -> Any:
        asked.append(prompt)
        return await embed(prompt)

    async def exact(shop_id: int, vector: Vector, k: int) -> Any:
        assert np.array_equal(vector, vector_of("a red dress"))
        return await query(shop_id, vector, k)

    monkeypatch.setattr(service.text_embedder, "embed", counted)
    monkeypatch.setattr(service.index, "query", exact)
    post(shop, prompt="a red dress")
    post(shop, queries=[{"prompt": "a red dress", "weight": 0.01}])
    assert asked == ["a red dress"] * 2


def test_parts_that_cancel_each_other(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def opposite(pixels: Pixels) -> Vector:
        axis = np.eye(1, DIMENSION, dtype=np.float32)
        return np.concatenate([axis, -axis])[: len(pixels)]

    monkeypatch.setattr(service.image_embedder, "embed", opposite)
    answer = post(shop, queries=[{"Photo": B64}, {"Photo": base64_text(BLUE)}])
    assert "cancels itself out" in assert_problem(answer, 422, "invalid_input")["detail"]


def test_only_the_shops_own_photos_can_be_asked_with(
    service: FakeService, shop: ShopClient, new_shop: Callable[[], ShopClient]
) -> None:
    image_id = shop.add(garment())["ImageID"]
    for stranger, gone in ((new_shop(), image_id), (shop, image_id + 1000)):
        for body, pointer in (
            ({"image_id": gone}, "/image_id"),
            ({"queries": [{"prompt": "x"}, {"image_id": gone}]}, "/queries/1/image_id"),
        ):
            assert_problem(post(stranger, **body), 404, "not_found", pointer)
    problem = assert_problem(post(shop, image_id=image_id), 409, "conflict", "/image_id")
    assert "pending" in problem["detail"]
    service.embed(shop.shop_id, image_id)
    assert scores(post(shop, image_id=image_id)) == {}
    service.set_status(image_id, ImageStatus.DELETING)
    assert_problem(post(shop, image_id=image_id), 404, "not_found", "/image_id")


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        ({"Photo": "not base64!"}, 422, "invalid_input", "/Photo"),
        ({"Photo": ""}, 422, "photo_empty", "/Photo"),
        ({"Photo": 5}, 422, "photo_missing", "/Photo"),
        ({"Photo": base64_text(b"%PDF-1.7")}, 415, "photo_type_unsupported", "/Photo"),
        ({"Photo": base64_text(RED[:500])}, 422, "photo_unreadable", "/Photo"),
        ({"queries": [{"prompt": "x"}, {"Photo": "?"}]}, 422, "invalid_input", "/queries/1/Photo"),
        ({"queries": [{"Photo": B64}, {"Photo": BROKEN}]}, 422, "photo_unreadable", "/queries/1/Photo"),
        ({"queries": [{"Photo": B64}] * 5}, 422, "invalid_input", "/queries"),
        ({"queries": [{"prompt": "x"}] * 9}, 422, "invalid_input", "/queries"),
        ({"queries": []}, 422, "invalid_input", "/queries"),
        ({"queries": [{}]}, 422, "invalid_input", "/queries/0"),
        ({"queries": [{"prompt": "x", "image_id": 1}]}, 422, "invalid_input", "/queries/0"),
        ({"queries": [{"prompt": "x", "weight": 0}]}, 422, "invalid_input", "/queries/0/weight"),
        ({"queries": [{"prompt": "x", "weight": "NaN"}]}, 422, "invalid_input", "/queries/0/weight"),
        ({"queries": [{"prompt": "x", "wieght": 1}]}, 422, "invalid_input", "/queries/0/wieght"),
        ({"queries": "[{"}, 422, "invalid_input", "/queries"),
        ({"queries": "[" * 5000}, 422, "invalid_input", "/queries"),
        ({"queries": {"prompt": "x"}}, 422, "invalid_input", "/queries"),
        ({"queries": [{"prompt": "x"}], "prompt": "y"}, 422, "invalid_input", ""),
        ({"negative_prompt": "x"}, 422, "invalid_input", ""),
        ({"prompt": "x", "negative_prompt": ""}, 422, "invalid_input", "/negative_prompt"),
        ({"prompt": "x", "negative_prompt": "\ud800"}, 422, "invalid_input", "/negative_prompt"),
        ({"image_id": 0}, 422, "invalid_input", "/image_id"),
        ({"image_id": "9" * 5000}, 422, "invalid_input", "/image_id"),
        ({"image_id": True}, 422, "invalid_input", "/image_id"),
        ({"image_id": 1.5}, 422, "invalid_input", "/image_id"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked(
    shop: ShopClient, body: dict[str, Any], status: int, code: str, pointer: str
) -> None:
    content = json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    answer = shop.request("POST", RECOMMENDATIONS, content=content, headers=headers)
    assert_problem(answer, status, code, pointer)


@pytest.mark.usefixtures("stock")
def test_a_form_with_everything(shop: ShopClient) -> None:
    form = {
        "APIKey": shop.key, "prompt": "red", "negative_prompt": "hat", "number_of_images": "2", "offset": "1",
        "min_score": "-1", "diversity": "0", "filters": "{}", "facets": '["Category"]',
    }  # fmt: skip
    files = {"Photo": ("a.jpg", RED, "image/jpeg")}
    answer = shop.http.request("POST", RECOMMENDATIONS, data=form, files=files)
    assert [one["rank"] for one in answer.json()["recommendations"]] == [2, 3]
    for changes, pointer in (
        ({"number_of_images": "two"}, "/number_of_images"),
        ({"filters": "{"}, "/filters"),
        ({"filters": '{"colour": 1}'}, "/filters/colour"),
    ):
        answer = shop.http.request("POST", RECOMMENDATIONS, data=form | changes, files=files)
        assert_problem(answer, 422, "invalid_input", pointer)
    empty = {"Photo": ("empty.jpg", b"", "image/jpeg")}
    assert_problem(shop.request("POST", RECOMMENDATIONS, files=empty), 422, "photo_empty", "/Photo")


def test_the_log_says_what_was_asked_and_holds_no_photo(
    service: FakeService, shop: ShopClient, stock: dict[str, int]
) -> None:
    sha256 = hashlib.sha256(RED).hexdigest()
    alone = post(shop, Photo=B64, prompt="in blue", negative_prompt="hat", offset=1, min_score=-1.0)
    parts = [{"Photo": B64, "weight": 2}, {"image_id": stock["red hat"]}, {"prompt": "blue"}]
    several = post(shop, queries=parts)
    one = post(shop, queries=[{"prompt": "In Blue", "weight": 3}])
    plain = post(shop, prompt="in blue")
    rows = []
    service.flush_prompts()
    with service.database.transaction() as session:
        for answer in (alone, several, one, plain):
            row = session.get(Prompt, uuid.UUID(answer.json()["prompt_id"]))
            assert row is not None
            rows.append((row.prompt, row.query))
    assert rows == [
        ("in blue", {"photo_sha256": sha256, "negative_prompt": "hat", "offset": 1, "min_score": -1.0}),
        (
            "",
            {
                "queries": [
                    {"photo_sha256": sha256, "weight": 2.0},
                    {"image_id": stock["red hat"], "weight": 1.0},
                    {"prompt": "blue", "weight": 1.0},
                ]
            },
        ),
        ("In Blue", {"queries": [{"prompt": "In Blue", "weight": 3.0}]}),
        ("in blue", {}),
    ]
    history = shop.request("GET", "/api/prompts/").json()["results"]
    assert [(one["query"], one["no_match"]) for one in history] == [(row[1], False) for row in rows[::-1]]
    assert B64[:40] not in json.dumps(history)
