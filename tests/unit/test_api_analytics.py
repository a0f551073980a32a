"""Analytics equal what Python counts in the same log; themes are what obviously belongs together."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from models.errors import TooBusy
from models.event import Event, EventKind
from models.prompt import Prompt, normalised
from tests.fakes import MODEL
from tests.shop_client import ShopClient, assert_problem
from tests.unit.conftest import FakeService

PROMPTS, UNMET = "/api/analytics/prompts/", "/api/analytics/unmet-demand/"
NO_DAYS = 400  # further back than any span


@dataclass(frozen=True)
class Asked:
    """One answer. ``clicks``: the positions that were clicked; ``scores``: none where nothing was shown."""

    text: str
    day: int = 0
    scores: tuple[float, ...] = (0.5,)
    clicks: tuple[int, ...] = ()
    no_match: bool = False
    offset: int = 0
    photo: bool = False
    of_this_model: bool = True


def log(service: FakeService, shop: ShopClient, asked: Sequence[Asked]) -> None:
    """``day``: how many days ago."""
    now = datetime.now(UTC)
    rows, events = [], []
    for one in asked:
        query: dict[str, Any] = {"offset": one.offset} if one.offset else {}
        row = Prompt(
            id=uuid.uuid4(),
            shop_id=shop.shop_id,
            prompt=one.text,
            normalised=normalised(one.text),
            query=query | ({"photo_sha256": "0"} if one.photo else {}),
            number_recommended=5,
            result_ids=list(range(len(one.scores))),
            scores=list(one.scores),
            no_match=one.no_match,
            model_key=MODEL.key if one.of_this_model else "another",
            duration_ms=1.0,
            created_at=now - timedelta(days=one.day),
        )
        rows.append(row)
        events += [
            {"shop_id": shop.shop_id, "prompt_id": row.id, "image_id": image_id, "kind": kind, "position": at}
            for image_id, at in enumerate(one.clicks)
            for kind in (EventKind.CLICK, EventKind.PURCHASE)
        ]
    with service.database.transaction() as session:
        session.add_all(rows)
        session.flush()
        if events:
            session.execute(insert(Event).values(events))


def read(shop: ShopClient, path: str, **params: int) -> dict[str, Any]:
    answer = shop.request("GET", path, params=params)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def figures(asked: Sequence[Asked], reported: bool) -> dict[str, Any]:
    """The oracle of one day, or of the whole span."""
    clicks = [position for one in asked for position in one.clicks]
    clicked = sum(bool(one.clicks) for one in asked)
    no_match = sum(one.no_match for one in asked)
    return {
        "prompts": len(asked),
        "no_match": no_match,
        "no_match_share": pytest.approx(no_match / len(asked), abs=5.1e-5) if asked else None,
        "clicks": len(clicks),
        "click_through": pytest.approx(clicked / len(asked), abs=5.1e-5) if asked and reported else None,
        "mean_position": pytest.approx(float(np.mean(clicks)), abs=5.1e-5) if clicks else None,
    }


def by_prompt(asked: Sequence[Asked]) -> dict[str, list[Asked]]:
    groups: dict[str, list[Asked]] = defaultdict(list)
    for one in asked:
        if one.text.strip():
            groups[" ".join(one.text.casefold().split())].append(one)
    return groups


def lists(asked: Sequence[Asked], limit: int) -> dict[str, list[dict[str, Any]]]:
    """The oracle of the three lists."""
    counts = [
        {
            "prompt": text,
            "asked": len(group),
            "no_match": sum(one.no_match for one in group),
            "clicked": sum(bool(one.clicks) for one in group),
            "answered": sum(bool(one.scores) for one in group),
        }
        for text, group in by_prompt(asked).items()
    ]
    reported = any(one.clicks for one in asked)
    chosen = {
        "top": sorted(counts, key=lambda one: (-one["asked"], one["prompt"])),
        "no_match": sorted(
            (one for one in counts if one["no_match"]), key=lambda one: (-one["no_match"], one["prompt"])
        ),
        "no_click": sorted(
            (one for one in counts if reported and not one["clicked"] and one["answered"] >= 3),
            key=lambda one: (-one["asked"], one["prompt"]),
        ),
    }
    return {
        name: [{key: one[key] for key in one if key != "answered"} for one in found[:limit]]
        for name, found in chosen.items()
    }


ANSWERS = st.lists(
    st.builds(
        Asked,
        text=st.sampled_from(
            ["a Red dress", " A red  DRESS", "blue hat", "BLUE\tHÄT", "blue hät", "tie", ""]
        ),
        day=st.sampled_from([0, 0, 1, 3, NO_DAYS, -2]),
        scores=st.sampled_from([(), (0.1,), (0.3, 0.2), (0.5,), (0.7, 0.1)]),
        clicks=st.sampled_from([(), (), (), (1,), (4, 2)]),
        no_match=st.booleans(),
        offset=st.sampled_from([0, 0, 5]),
        photo=st.sampled_from([False, False, True]),
        of_this_model=st.sampled_from([True, True, False]),
    ),
    max_size=24,
)
PROPERTY = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@PROPERTY
@given(asked=ANSWERS, days=st.integers(1, 5), limit=st.integers(1, 4))
def test_the_figures_are_those_of_the_log(
    service: FakeService, asked: list[Asked], days: int, limit: int
) -> None:
    shop, other = service.new_shop(), service.new_shop()
    log(service, shop, asked)
    log(service, other, [Asked("a red dress", clicks=(1,)), Asked("tie", no_match=True)])
    found = read(shop, PROMPTS, days=days, limit=limit)
    recent = [one for one in asked if 0 <= one.day < days]
    reported = any(one.clicks for one in recent)
    assert found["period"] == figures(recent, reported)
    today = datetime.now(UTC).date()
    assert (found["since"], found["until"]) == (str(today - timedelta(days=days - 1)), str(today))
    assert found["days"] == [
        {"day": str(today - timedelta(days=ago))}
        | figures([one for one in recent if one.day == ago], reported)
        for ago in reversed(range(days))
    ]
    assert {name: found[name] for name in ("top", "no_match", "no_click")} == lists(recent, limit)


def unmet_prompts(asked: Sequence[Asked]) -> dict[str, list[Asked]]:
    """The oracle of what was asked for in vain."""

    def score(one: Asked) -> float | None:
        plain = not (one.no_match or one.offset or one.photo) and one.of_this_model
        return one.scores[0] if plain and one.scores else None

    worded = by_prompt(asked)
    scores = [found for group in worded.values() for one in group if (found := score(one)) is not None]
    low = float(np.percentile(scores, 10)) if scores else None
    reported = any(one.clicks for group in worded.values() for one in group)

    def missed(group: list[Asked]) -> bool:
        empty = [one.no_match or (not one.scores and not one.offset) for one in group]
        weak = [low is not None and (found := score(one)) is not None and found < low for one in group]
        failed = sum(a or b for a, b in zip(empty, weak, strict=True))
        ignored = reported and not any(one.clicks for one in group) and len(group) - sum(empty) >= 3
        return 2 * failed >= len(group) or ignored

    return {text: group for text, group in worded.items() if missed(group)}


@PROPERTY
@given(asked=ANSWERS, days=st.integers(1, 5))
def test_unmet_demand_is_that_of_the_log(service: FakeService, asked: list[Asked], days: int) -> None:
    shop = service.new_shop()
    log(service, shop, asked)
    recent = [one for one in asked if 0 <= one.day < days]
    wanted = unmet_prompts(recent)
    found = read(shop, UNMET, days=days)
    examples = [text for theme in found["themes"] for text in theme["examples"]]
    assert sorted(examples) == sorted(wanted)
    assert found["distinct_prompts"] == found["grouped_prompts"] == len(wanted)
    assert found["prompts"] == sum(map(len, by_prompt(recent).values()))
    assert sum(theme["prompts"] for theme in found["themes"]) == sum(map(len, wanted.values()))
    rounding = 0.00005 * len(found["themes"])
    assert sum(theme["share"] for theme in found["themes"]) <= 1 + rounding + 1e-9
    reported = any(one.clicks for one in recent if one.text)
    assert all((theme["click_through"] is None) != reported for theme in found["themes"])


def test_two_obvious_themes_are_found(service: FakeService, shop: ShopClient) -> None:
    kilts = ["purple tweed kilt", "tweed kilt purple", "purple tweed kilt men", "a tweed kilt purple"]
    gloves = ["leather golf gloves", "golf gloves leather", "leather golf gloves size"]
    log(
        service,
        shop,
        [
            *(Asked(text, scores=(), no_match=True) for text in kilts for _ in range(2)),
            *(Asked(text, scores=(0.2,)) for text in gloves),
            Asked(kilts[1], scores=(), no_match=True),
            *(Asked("red dress", scores=(0.6,), clicks=(1,)) for _ in range(40)),
        ],
    )
    found = read(shop, UNMET)
    first, second = found["themes"]
    assert first == {
        "label": "tweed kilt purple",
        "examples": [kilts[1], kilts[3], kilts[0], kilts[2]],
        "prompts": 9,
        "share": pytest.approx(9 / 52, abs=1e-4),
        "distinct_prompts": 4,
        "no_match": 9,
        "mean_score": None,
        "click_through": 0.0,
    }
    assert (second["label"], second["prompts"], second["no_match"]) == ("golf gloves leather", 3, 0)
    assert second["mean_score"] == pytest.approx(0.2)
    assert read(shop, UNMET, limit=1)["themes"] == [first]
    assert read(shop, UNMET) == found


def test_only_the_most_frequent_prompts_are_grouped(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve_app.analytics.MAX_GROUPED", 3)
    log(service, shop, [Asked(f"word{number}", no_match=True) for number in range(5) for _ in range(number)])
    found = read(shop, UNMET)
    assert (found["distinct_prompts"], found["grouped_prompts"]) == (4, 3)
    assert [theme["label"] for theme in found["themes"]] == ["word4", "word3", "word2"]


def test_a_shop_without_prompts(shop: ShopClient) -> None:
    found = read(shop, UNMET, days=90)
    assert (found["prompts"], found["low_score"], found["themes"]) == (0, None, [])
    assert read(shop, PROMPTS, days=1)["period"] == figures([], False)


def test_a_busy_text_tower_is_said_to_be_busy(
    service: FakeService, shop: ShopClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log(service, shop, [Asked(uuid.uuid4().hex, no_match=True)])
    monkeypatch.setattr(service.text_embedder, "error", TooBusy("The text embedder has a full queue."))
    assert_problem(shop.request("GET", UNMET), 503, "too_busy")


@pytest.mark.parametrize("path", [PROMPTS, UNMET])
@pytest.mark.parametrize("params", [{"days": 0}, {"days": 91}, {"limit": 0}, {"limit": 101}, {"days": "x"}])
def test_limits_of_the_request(new_shop: Callable[[], ShopClient], path: str, params: dict[str, Any]) -> None:
    (name,) = params
    assert_problem(new_shop().request("GET", path, params=params), 422, "invalid_input", f"/{name}")
