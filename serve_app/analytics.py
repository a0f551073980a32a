"""What shoppers look for, what they find, and what they miss, by the day and by theme."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple
from datetime import UTC, date, datetime, time, timedelta

import numpy as np
from sqlalchemy.orm import Session

from db import analytics
from db.analytics import DayCounts, PromptCounts, Span, Unmet, UnmetPrompt
from models.analytics_api import DayFigures, Figures, PromptAnalytics, PromptCount, Theme, UnmetDemand
from serve_app.ports import Vector
from serve_app.services import Services
from serve_app.themes import YARDSTICK, themes, threshold

ONE_DAY = timedelta(days=1)
MAX_GROUPED = 300
EXAMPLES = 5


async def prompt_analytics(
    services: Services, shop_id: int, days: int, today: date, limit: int
) -> PromptAnalytics:
    """Of the last ``days`` UTC days, today included; lists of up to ``limit`` prompts."""
    span = _span(shop_id, days, today)

    def counts(session: Session) -> tuple[dict[date, DayCounts], dict[str, list[PromptCounts]]]:
        return analytics.by_day(session, span), analytics.most_frequent(session, span, limit)

    async with services.analytics_turns:
        by_day, lists = await services.database.run(counts)
    period = _sum(by_day.values())
    reported = period.clicks > 0
    if not reported:
        lists["no_click"] = []
    first = span.since.date()
    return PromptAnalytics(
        since=first,
        until=today,
        period=Figures(**_figures(period, reported)),
        **{name: [PromptCount(**asdict(one)) for one in found] for name, found in lists.items()},
        days=[
            DayFigures(day=day, **_figures(by_day.get(day, DayCounts()), reported))
            for day in (first + number * ONE_DAY for number in range(days))
        ],
    )


async def unmet_demand(services: Services, shop_id: int, days: int, today: date, limit: int) -> UnmetDemand:
    """Up to ``limit`` themes of what was asked for in vain in the last ``days`` UTC days.

    ``db.analytics.unmet`` says what that is, ``serve_app.themes`` how it is grouped.
    """
    span, model = _span(shop_id, days, today), services.model
    async with services.analytics_turns:
        found = await services.database.run(
            lambda session: analytics.unmet(session, span, model.key, MAX_GROUPED)
        )
        groups = await _grouped(services, found.prompts)
    return UnmetDemand(
        since=span.since.date(),
        until=today,
        model=model.label,
        prompts=found.asked,
        low_score=found.low_score,
        distinct_prompts=found.distinct,
        grouped_prompts=len(found.prompts),
        themes=[_theme(group, found) for group in groups[:limit]],
    )


async def _grouped(services: Services, prompts: Sequence[UnmetPrompt]) -> list[list[UnmetPrompt]]:
    """The prompts by theme, the theme that was asked most first; within each the same."""
    if not prompts:
        return []
    texts = [*YARDSTICK, *(one.prompt for one in prompts)]
    found = await services.text_vectors.get(services.text_embedder, texts)
    groups = await asyncio.to_thread(_rows_by_theme, np.stack([found[text] for text in texts]))
    by_theme = [[prompts[row] for row in rows] for rows in groups]
    return sorted(by_theme, key=lambda theme: -sum(one.asked for one in theme))


def _rows_by_theme(vectors: Vector) -> list[list[int]]:
    return themes(vectors[len(YARDSTICK) :], threshold(vectors[: len(YARDSTICK)]))


def _theme(prompts: Sequence[UnmetPrompt], found: Unmet) -> Theme:
    asked, scored = sum(one.asked for one in prompts), sum(one.scored for one in prompts)
    return Theme(
        label=prompts[0].prompt,
        examples=[one.prompt for one in prompts[:EXAMPLES]],
        prompts=asked,
        share=asked / found.asked,
        distinct_prompts=len(prompts),
        no_match=sum(one.unanswered for one in prompts),
        mean_score=sum(one.scores for one in prompts) / scored if scored else None,
        click_through=sum(one.clicked for one in prompts) / asked if found.clicks_reported else None,
    )


def _figures(counts: DayCounts, reported: bool) -> dict[str, float | None]:
    asked = counts.prompts
    return {
        "prompts": asked,
        "no_match": counts.no_match,
        "no_match_share": counts.no_match / asked if asked else None,
        "clicks": counts.clicks,
        "click_through": counts.clicked / asked if asked and reported else None,
        "mean_position": counts.positions / counts.clicks if counts.clicks else None,
    }


def _sum(days: Iterable[DayCounts]) -> DayCounts:
    columns = zip(*(astuple(day) for day in days), strict=True)
    return DayCounts(*(sum(column) for column in columns))


def _span(shop_id: int, days: int, today: date) -> Span:
    return Span(shop_id, _midnight(today - (days - 1) * ONE_DAY), _midnight(today + ONE_DAY))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
