"""What a shop's prompts led to, computed in PostgreSQL from the log and the events of one span of time."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

OFTEN = 3
LOW_QUANTILE = 0.1

_CLICKS = """click AS (
    SELECT prompt_id, count(*) AS clicks, sum(position) AS positions FROM event
    WHERE shop_id = :shop_id AND kind = 'click' AND created_at >= :since GROUP BY prompt_id)"""
_ASKED = """prompt LEFT JOIN click ON click.prompt_id = prompt.id
    WHERE prompt.shop_id = :shop_id AND prompt.created_at >= :since AND prompt.created_at < :until"""

_BY_DAY = f"""WITH {_CLICKS}
    SELECT CAST(timezone('UTC', prompt.created_at) AS date), count(*), count(*) FILTER (WHERE no_match),
           count(clicks), coalesce(sum(clicks), 0), coalesce(sum(positions), 0)
    FROM {_ASKED} GROUP BY 1"""

_MOST_FREQUENT = f"""WITH {_CLICKS}, found AS MATERIALIZED (
    SELECT normalised COLLATE "C" AS prompt, count(*) AS asked, count(*) FILTER (WHERE no_match) AS no_match,
           count(clicks) AS clicked, count(*) FILTER (WHERE cardinality(result_ids) > 0) AS answered
    FROM {_ASKED} AND normalised <> '' GROUP BY 1)
    (SELECT 'top', prompt, asked, no_match, clicked FROM found
     ORDER BY asked DESC, prompt LIMIT :limit) UNION ALL
    (SELECT 'no_match', prompt, asked, no_match, clicked FROM found WHERE no_match > 0
     ORDER BY no_match DESC, prompt LIMIT :limit) UNION ALL
    (SELECT 'no_click', prompt, asked, no_match, clicked FROM found WHERE clicked = 0 AND answered >= :often
     ORDER BY asked DESC, prompt LIMIT :limit)"""

_UNMET = f"""WITH {_CLICKS}, shown AS (
    SELECT prompt.*, clicks IS NOT NULL AS clicked, coalesce(query ->> 'offset', '0') = '0' AS first_page
    FROM {_ASKED} AND normalised <> ''),
answer AS MATERIALIZED (
    SELECT normalised COLLATE "C" AS prompt, clicked,
           no_match OR (first_page AND cardinality(result_ids) = 0) AS unanswered,
           CASE WHEN first_page AND model_key = :model_key AND NOT no_match
                AND NOT query ?| ARRAY['image_id', 'photo_sha256', 'negative_prompt']
           THEN scores[1] END AS best
    FROM shown),
total AS (
    SELECT count(*) AS asked, coalesce(bool_or(clicked), false) AS reported,
           percentile_cont(:low) WITHIN GROUP (ORDER BY best) AS low FROM answer),
summed AS (
    SELECT prompt, count(*) AS asked, count(*) FILTER (WHERE unanswered) AS unanswered,
           count(*) FILTER (WHERE clicked) AS clicked,
           count(best) AS scored, coalesce(sum(best), 0) AS scores,
           count(*) FILTER (WHERE unanswered OR best < (SELECT low FROM total)) AS failed
    FROM answer GROUP BY prompt)
SELECT total.*, missed.* FROM total LEFT JOIN LATERAL (
    SELECT count(*) OVER (), prompt, asked, unanswered, clicked, scored, scores FROM summed
    WHERE 2 * failed >= asked OR (reported AND clicked = 0 AND asked - unanswered >= :often)
    ORDER BY asked DESC, prompt LIMIT :limit) missed ON true"""


@dataclass(frozen=True)
class Span:
    """One shop's, from ``since`` on and before ``until``."""

    shop_id: int
    since: datetime
    until: datetime


@dataclass(frozen=True)
class DayCounts:
    """``clicked``: answers with at least one click. ``positions``: the sum over all clicks."""

    prompts: int = 0
    no_match: int = 0
    clicked: int = 0
    clicks: int = 0
    positions: int = 0


@dataclass(frozen=True)
class PromptCounts:
    """Of one normalised prompt."""

    prompt: str
    asked: int
    no_match: int
    clicked: int


@dataclass(frozen=True)
class UnmetPrompt:
    """One normalised prompt. ``scored``: how many of its answers had a best score, of the sum ``scores``."""

    prompt: str
    asked: int
    unanswered: int
    clicked: int
    scored: int
    scores: float


@dataclass(frozen=True)
class Unmet:
    """``prompts``: the most frequent of ``distinct`` ones. ``asked``: all prompts with words in the span."""

    asked: int
    clicks_reported: bool
    low_score: float | None
    distinct: int
    prompts: list[UnmetPrompt]


def by_day(session: Session, span: Span) -> dict[date, DayCounts]:
    """For each UTC day that had prompts. Clicks count on the day of their prompt."""
    rows = session.execute(text(_BY_DAY), asdict(span))
    return {day: DayCounts(*(int(count) for count in counts)) for day, *counts in rows}


def most_frequent(session: Session, span: Span, limit: int) -> dict[str, list[PromptCounts]]:
    """``top``, ``no_match`` and ``no_click``: up to ``limit`` prompts each, the most frequent first.

    ``no_click``: answered OFTEN and never clicked.
    """
    lists: dict[str, list[PromptCounts]] = {"top": [], "no_match": [], "no_click": []}
    for kind, *counts in session.execute(
        text(_MOST_FREQUENT), asdict(span) | {"limit": limit, "often": OFTEN}
    ):
        lists[kind].append(PromptCounts(*counts))
    return lists


def unmet(session: Session, span: Span, model_key: str, limit: int) -> Unmet:
    """Prompts that found nothing, or little, or nothing that anybody clicked; the most frequent first.

    Such is one of which at least half of the answers showed nothing or scored low, or that was answered OFTEN
    and never clicked, in a shop that reports clicks. Scores are those of answers by ``model_key`` to words
    alone, on their first page; the lowest tenth of them is low.
    """
    values = asdict(span) | {"model_key": model_key, "limit": limit, "often": OFTEN, "low": LOW_QUANTILE}
    rows = session.execute(text(_UNMET), values).all()
    asked, reported, low_score, distinct, *_ = rows[0]
    prompts = [UnmetPrompt(*row[4:]) for row in rows if row[4] is not None]
    return Unmet(asked, reported, low_score, distinct or 0, prompts)
