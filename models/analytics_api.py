"""What shoppers look for, what they find and what they miss."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field

Share = Annotated[float, AfterValidator(lambda value: round(value, 4))]
Mean = Annotated[float, AfterValidator(lambda value: round(value, 4))]


class PromptCount(BaseModel):
    """One prompt of the period, with all its spellings that differ in case and white space only."""

    prompt: str = Field(description="Case folded, runs of white space as one blank.")
    asked: int
    no_match: int = Field(description="How often nothing in the catalogue answered it.")
    clicked: int = Field(description="How often at least one photo of its answer was clicked.")


class Figures(BaseModel):
    """Of all requests, also those without words. Shares are null where there was nothing to share."""

    prompts: int
    no_match: int
    no_match_share: Share | None
    clicks: int
    click_through: Share | None = Field(description="Share of the answers that were clicked at least once.")
    mean_position: Mean | None = Field(description="Of the clicks; 1 is the best.")


class _Day(BaseModel):
    day: date = Field(description="UTC. Clicks count on the day of their prompt.")


class DayFigures(Figures, _Day):
    """One day."""


class PromptAnalytics(BaseModel):
    """The period is whole UTC days, the last of them today."""

    since: date
    until: date
    period: Figures
    top: list[PromptCount] = Field(description="Asked most often.")
    no_match: list[PromptCount] = Field(description="Most often without a match.")
    no_click: list[PromptCount] = Field(
        description="Answered three times or more and never clicked; empty while no clicks are reported."
    )
    days: list[DayFigures] = Field(description="Oldest first; days without prompts included.")


class Theme(BaseModel):
    """Prompts that mean the same and did not get what they asked for."""

    label: str = Field(description="The prompt of the theme that was asked most often.")
    examples: list[str] = Field(description="Up to five, asked most often first.")
    prompts: int = Field(description="How often they were asked.")
    share: Share = Field(description="Of all prompts with words in the period.")
    distinct_prompts: int
    no_match: int = Field(description="How often nothing was shown.")
    mean_score: Mean | None = Field(description="Mean of the answers' best scores; null where none had one.")
    click_through: Share | None = Field(
        description="Share of the prompts that were clicked at least once; null while no clicks are reported."
    )


class UnmetDemand(BaseModel):
    """The period is whole UTC days, the last of them today."""

    since: date
    until: date
    model: str
    prompts: int = Field(description="With words, in the period.")
    low_score: Mean | None = Field(description="Best scores below it count as low; null without any scores.")
    distinct_prompts: int = Field(description="Different prompts that met no demand.")
    grouped_prompts: int = Field(description="How many of these are in the themes: the most frequent ones.")
    themes: list[Theme] = Field(description="Asked most often first.")
