"""The three shared vocabularies that describe a photo: categories, styles, age groups."""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class TaxonomyBase(SQLModel):
    name: str = Field(max_length=250, unique=True)
    description: str = Field(default="", max_length=1000)


class Category(TaxonomyBase, table=True):
    id: int | None = Field(default=None, primary_key=True)


class Style(TaxonomyBase, table=True):
    id: int | None = Field(default=None, primary_key=True)


class AgeGroup(TaxonomyBase, table=True):
    __tablename__ = "age_group"

    id: int | None = Field(default=None, primary_key=True)


class TaxonomyPublic(SQLModel):
    id: int
    name: str
    description: str
