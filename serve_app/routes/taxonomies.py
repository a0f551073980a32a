"""/api/categories/, /api/styles/, /api/age-groups/: the vocabularies that describe photos."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter

from db.taxonomies import Term, list_terms
from models.taxonomy import AgeGroup, Category, Style, TaxonomyPublic
from serve_app.routes.dependencies import CallerDep, ServicesDep

router = APIRouter(prefix="/api", tags=["vocabularies"])


async def _terms(services: ServicesDep, table: type[Term]) -> list[TaxonomyPublic]:
    rows = await services.database.read(partial(list_terms, table=table))
    return [TaxonomyPublic.model_validate(row, from_attributes=True) for row in rows]


@router.get("/categories/")
async def categories(services: ServicesDep, caller: CallerDep) -> list[TaxonomyPublic]:  # noqa: ARG001
    """What a photo shows: dresses, shirts, …"""
    return await _terms(services, Category)


@router.get("/styles/")
async def styles(services: ServicesDep, caller: CallerDep) -> list[TaxonomyPublic]:  # noqa: ARG001
    """How it is worn: casual, formal, …"""
    return await _terms(services, Style)


@router.get("/age-groups/")
async def age_groups(services: ServicesDep, caller: CallerDep) -> list[TaxonomyPublic]:  # noqa: ARG001
    """Who wears it: adults, kids, …"""
    return await _terms(services, AgeGroup)
