"""The base of all views: records are read through the service's database, and changed by use cases only."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

from sqladmin import Flash, ModelView
from sqladmin.pagination import Pagination
from sqlalchemy import Select
from sqlalchemy.exc import StatementError
from sqlalchemy.orm import Session
from starlette.datastructures import URL
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from db import record_pages
from db.images import MAX_ID
from models.errors import AppError, Forbidden, InvalidInput
from models.staff import Staff
from serve_app.admin.cells import FORMATTERS
from serve_app.services import Services

logger = logging.getLogger("serve_app")
MAX_SELECTED = 100
T = TypeVar("T")
Act = Callable[[Session, Staff, int], object]


class RecordView(ModelView):
    """A table that can be looked at. What else staff may do with it, a subclass says.

    The library would write rows itself: ``insert_model`` and its kin refuse until a subclass has its use case
    do it. ``services`` is set by ``mount_admin`` on a class of its own, so that two applications in one
    process do not share it.
    """

    services: ClassVar[Services]
    hidden: ClassVar[Sequence[Any]] = ()

    can_create = False
    can_edit = False
    can_delete = False
    can_export = False
    can_import = False
    page_size = 25
    page_size_options: ClassVar[Sequence[int]] = [25, 50, 100]
    search_auto_submit = False
    column_default_sort: ClassVar[Any] = ("id", True)
    column_type_formatters: ClassVar[Any] = FORMATTERS
    column_type_formatters_detail: ClassVar[Any] = FORMATTERS

    def list_query(self, request: Request) -> Any:
        return record_pages.without(super().list_query(request), self.hidden)

    def _stmt_by_identifier(self, identifier: str) -> Any:
        """A text that can be no id is a record that does not exist."""
        if identifier.isdecimal() and not 0 < int(identifier[:20]) <= MAX_ID:
            raise HTTPException(404)
        try:
            return record_pages.without(super()._stmt_by_identifier(identifier), self.hidden)
        except ValueError as error:
            raise HTTPException(404) from error

    async def _run_query(self, stmt: Any) -> Any:
        """In a thread of the database's pool; the library would use its own pool of threads."""
        return await self.services.database.read(lambda session: session.scalars(stmt).unique().all())

    async def _run_arbitrary_query(self, stmt: Any) -> Any:
        """The library would block the event loop here."""
        return await self.services.database.read(lambda session: session.execute(stmt).all())

    async def count(self, request: Request, stmt: Select[Any] | None = None) -> int:
        query = self.list_query(request) if stmt is None else record_pages.source(stmt)
        counts = await self._run_query(record_pages.counted(query))
        return int(counts[0])

    async def list(self, request: Request) -> Pagination:
        """Raises 400 for a filter or search that the database cannot understand."""
        try:
            return await super().list(request)
        except (StatementError, ValueError) as error:
            logger.warning("a list of the admin was refused: %s", type(error).__name__)
            raise HTTPException(
                400, "This search or filter cannot be used. Clear it and try again."
            ) from None

    async def insert_model(self, request: Request, data: dict[str, Any]) -> Any:  # noqa: ARG002
        raise Forbidden(f"The admin does not create {self.name_plural.lower()}.")

    async def update_model(self, request: Request, pk: str, data: dict[str, Any]) -> Any:  # noqa: ARG002
        raise Forbidden(f"The admin does not change {self.name_plural.lower()}.")

    async def delete_model(self, request: Request, pk: Any) -> None:  # noqa: ARG002
        raise Forbidden(f"The admin does not delete {self.name_plural.lower()}.")

    async def get_object_filepath(self, identifier: str, column_name: str) -> Path:  # noqa: ARG002
        """No column here names a file to be downloaded."""
        raise HTTPException(404)

    async def change(self, request: Request, work: Callable[[Session, Staff], T]) -> T:
        """``work`` in a transaction. Its errors are shown: those without words for people get some."""
        staff: Staff = request.state.staff
        return await self.told(request, self.services.database.run(lambda session: work(session, staff)))

    async def told(self, request: Request, work: Awaitable[T]) -> T:
        """The result; an unexpected error becomes an AppError that holds none of its text."""
        try:
            return await work
        except AppError:
            raise
        except Exception as error:
            request_id = request.scope["state"].get("request_id", "")
            logger.exception("unexpected error in the admin")
            raise AppError(
                f"Something went wrong, and nothing was changed. The log has it under {request_id}."
            ) from error

    async def each_selected(self, request: Request, act: Act, done: str, others: str) -> Response:
        """Carry out an action on the selected records, all or none; then back to the page.

        ``act`` gives something false for a record that it does not apply to. ``done`` and ``others`` end
        the sentences "3 photos …" and "1 photo …".
        """
        try:
            ids = selected(request)
            applied = await self.change(
                request, lambda session, staff: [act(session, staff, one) for one in ids]
            )
        except AppError as error:
            Flash.error(request, error.message)
        else:
            changed = [one for one in applied if one]
            self.changed(ids, changed)
            self._tell(request, len(changed), done, Flash.success)
            self._tell(request, len(ids) - len(changed), others, Flash.warning)
        return RedirectResponse(self._back(request), 303)

    def changed(self, ids: Sequence[int], results: Sequence[Any]) -> None:
        """Called when an action on these records is committed, with the results of ``act`` that are true."""

    def _tell(self, request: Request, count: int, what: str, flash: Callable[[Request, str], bool]) -> None:
        if count:
            name = self.name if count == 1 else self.name_plural
            flash(request, f"{count} {name.lower()} {what}.")

    def _back(self, request: Request) -> str:
        referer = request.headers.get("referer", "")
        if urlsplit(referer).netloc == request.headers.get("host"):
            return str(URL(referer).remove_query_params("error"))
        return str(request.url_for("admin:list", identity=self.identity))


def selected(request: Request) -> list[int]:
    """The ids of an action's records. Raises InvalidInput."""
    texts = [text for text in request.query_params.get("pks", "").split(",") if text]
    if not texts:
        raise InvalidInput("Nothing is selected. Tick the records first.")
    if len(texts) > MAX_SELECTED:
        raise InvalidInput(f"{len(texts)} records are selected; {MAX_SELECTED} at a time are the limit.")
    if not all(text.isdecimal() and len(text) < 11 and 0 < int(text) <= MAX_ID for text in texts):
        raise InvalidInput("The selection holds something that is no id.")
    return sorted({int(text) for text in texts})
