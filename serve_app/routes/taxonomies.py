"""/api/categories/, /api/styles/, /api/age-groups/: the vocabularies that describe photos."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Generic

from fastapi import APIRouter, Depends, Path, Response

from db.taxonomies import Term, list_terms
from models.taxonomy import AgeGroup, Category, Style
from models.taxonomy_api import TermChanges, TermDeleted, TermFields, TermPublic
from serve_app.manage_terms import change_term, create_term, delete_term, get_term
from serve_app.routes.dependencies import ServicesDep, StaffDep, get_reader

TermId = Annotated[int, Path(ge=1, le=2**31 - 1)]


class Vocabulary(Generic[Term]):
    """The routes of one table: whoever has a key reads, staff writes."""

    def __init__(self, name: str, table: type[Term]) -> None:
        self._path = f"/api/{name}/"
        self._table: type[Term] = table
        self.router = APIRouter(prefix=f"/api/{name}", tags=["vocabularies"])
        reading = [Depends(get_reader)]
        add = self.router.add_api_route
        add("/", self.list_all, methods=["GET"], dependencies=reading)
        add("/", self.create, methods=["POST"], status_code=201, responses={409: {}})
        add("/{term_id}/", self.read, methods=["GET"], dependencies=reading)
        add("/{term_id}/", self.update, methods=["PATCH"], responses={409: {}})
        add("/{term_id}/", self.remove, methods=["DELETE"])

    async def list_all(self, services: ServicesDep) -> list[TermPublic]:
        """List all terms, by id."""
        rows = await services.database.read(partial(list_terms, table=self._table))
        return [TermPublic.model_validate(row) for row in rows]

    async def create(
        self, fields: TermFields, response: Response, services: ServicesDep, staff: StaffDep
    ) -> TermPublic:
        """Add a term. Staff only."""
        act = partial(create_term, staff=staff, table=self._table, fields=fields)
        term = TermPublic.model_validate(await services.database.run(act))
        response.headers["Location"] = f"{self._path}{term.id}/"
        return term

    async def read(self, term_id: TermId, services: ServicesDep) -> TermPublic:
        """Read one term."""
        find = partial(get_term, table=self._table, term_id=term_id)
        return TermPublic.model_validate(await services.database.read(find))

    async def update(
        self, term_id: TermId, changes: TermChanges, services: ServicesDep, staff: StaffDep
    ) -> TermPublic:
        """Change a term's given fields. Staff only."""
        act = partial(change_term, staff=staff, table=self._table, term_id=term_id, changes=changes)
        return TermPublic.model_validate(await services.database.run(act))

    async def remove(self, term_id: TermId, services: ServicesDep, staff: StaffDep) -> TermDeleted:
        """Remove a term. Photos that use it, of any shop, have null in its place. Staff only."""
        act = partial(delete_term, staff=staff, table=self._table, term_id=term_id)
        return TermDeleted(photos_changed=await services.database.run(act))


VOCABULARIES = (
    Vocabulary("categories", Category),
    Vocabulary("styles", Style),
    Vocabulary("age-groups", AgeGroup),
)
router = APIRouter()
for vocabulary in VOCABULARIES:
    router.include_router(vocabulary.router)
