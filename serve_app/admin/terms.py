"""The shared vocabularies. Changing and deleting is what the API's routes for staff do."""

from __future__ import annotations

from typing import Any, ClassVar

from sqladmin import Flash
from starlette.requests import Request

from models.taxonomy import AgeGroup, Category, Style
from models.taxonomy_api import TermChanges, TermFields
from serve_app.admin import cells
from serve_app.admin.forms import TermForm, checked
from serve_app.admin.record_view import RecordView
from serve_app.manage_terms import change_term, create_term, delete_term


class TermView(RecordView):
    category = "Vocabularies"
    can_create = True
    can_edit = True
    can_delete = True
    form = TermForm
    form_columns: ClassVar[Any] = ["name", "description"]
    column_list: ClassVar[Any] = ["id", "name", "description"]
    column_details_list: ClassVar[Any] = ["id", "name", "description"]
    column_formatters: ClassVar[Any] = {"description": cells.short}
    column_formatters_detail: ClassVar[Any] = {"description": cells.wrapped}
    column_default_sort: ClassVar[Any] = "id"
    column_sortable_list: ClassVar[Any] = ["id", "name"]
    column_searchable_list: ClassVar[Any] = ["name", "description"]

    async def insert_model(self, request: Request, data: dict[str, Any]) -> Any:
        fields, table = checked(TermFields, data), self._table
        return await self.change(request, lambda session, staff: create_term(session, staff, table, fields))

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> Any:
        changes, table = checked(TermChanges, data), self._table
        return await self.change(
            request, lambda session, staff: change_term(session, staff, table, int(pk), changes)
        )

    async def delete_model(self, request: Request, pk: Any) -> None:
        table = self._table
        photos = await self.change(
            request, lambda session, staff: delete_term(session, staff, table, int(pk))
        )
        Flash.success(request, f"{self.name} {pk} is deleted. Photos that lost it: {photos}.")

    @property
    def _table(self) -> type[Category]:
        """Any of the three: they are alike."""
        table: type[Category] = self.model
        return table


class CategoryView(TermView, model=Category):
    name, name_plural, icon = "Category", "Categories", "fa-solid fa-shirt"


class StyleView(TermView, model=Style):
    name, icon = "Style", "fa-solid fa-palette"


class AgeGroupView(TermView, model=AgeGroup):
    name, icon = "Age group", "fa-solid fa-children"
