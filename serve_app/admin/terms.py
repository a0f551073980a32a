"""The shared vocabularies."""

from __future__ import annotations

from typing import Any, ClassVar

from models.taxonomy import AgeGroup, Category, Style
from serve_app.admin import cells
from serve_app.admin.record_view import RecordView


class TermView(RecordView):
    category = "Vocabularies"
    column_list: ClassVar[Any] = ["id", "name", "description"]
    column_details_list: ClassVar[Any] = ["id", "name", "description"]
    column_formatters: ClassVar[Any] = {"description": cells.short}
    column_formatters_detail: ClassVar[Any] = {"description": cells.wrapped}
    column_default_sort: ClassVar[Any] = "id"
    column_sortable_list: ClassVar[Any] = ["id", "name"]
    column_searchable_list: ClassVar[Any] = ["name", "description"]


class CategoryView(TermView, model=Category):
    name, name_plural, icon = "Category", "Categories", "fa-solid fa-shirt"


class StyleView(TermView, model=Style):
    name, icon = "Style", "fa-solid fa-palette"


class AgeGroupView(TermView, model=AgeGroup):
    name, icon = "Age group", "fa-solid fa-children"
