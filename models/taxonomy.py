"""The three shared vocabularies that describe a photo: categories, styles, age groups."""

from __future__ import annotations

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel


class TaxonomyBase(SQLModel):
    """Names are unique, whatever their case."""

    name: str = Field(max_length=250)
    description: str = Field(default="", max_length=1000)


class Category(TaxonomyBase, table=True):
    __table_args__ = (Index("uq_category_name", text("lower(name)"), unique=True),)

    id: int | None = Field(default=None, primary_key=True)


class Style(TaxonomyBase, table=True):
    __table_args__ = (Index("uq_style_name", text("lower(name)"), unique=True),)

    id: int | None = Field(default=None, primary_key=True)


class AgeGroup(TaxonomyBase, table=True):
    __tablename__ = "age_group"
    __table_args__ = (Index("uq_age_group_name", text("lower(name)"), unique=True),)

    id: int | None = Field(default=None, primary_key=True)
