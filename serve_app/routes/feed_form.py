"""The body of an import, taken in parts: a form, or the file itself. One call at a time, in any thread."""

from __future__ import annotations

from typing import Protocol

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from db.media import Upload
from models.errors import InvalidInput
from models.import_job import ImportOptions

FILE = "file"
MAX_VALUE_BYTES = 1000
MAX_NAME_CHARACTERS = 250


class FeedBody(Protocol):
    """``file_name``, ``media_type``: what the client says of the file. ``options``: what it was sent with."""

    file_name: str | None
    media_type: str | None

    def take(self, data: bytes) -> None:
        """The body's next bytes. Raises InvalidInput."""

    def end(self) -> ImportOptions:
        """The body is complete. Raises InvalidInput where it is not."""


class RawFeed:
    """The body is the file."""

    def __init__(self, upload: Upload, options: ImportOptions, media_type: str) -> None:
        self._upload, self._options = upload, options
        self.media_type: str | None = media_type
        self.file_name: str | None = None

    def take(self, data: bytes) -> None:
        self._upload.write(data)

    def end(self) -> ImportOptions:
        if not self._upload.size_bytes:
            raise InvalidInput("The body is empty. Send the feed's bytes (curl: --data-binary @FILE).")
        return self._options


class FeedForm:
    """multipart/form-data: the file goes straight into the store, the fields are the options."""

    def __init__(self, upload: Upload, options: ImportOptions, boundary: bytes) -> None:
        self._upload = upload
        self._given = options.model_dump(exclude_unset=True)
        self._fields: dict[str, bytearray] = {}
        self._header_name, self._header_value = bytearray(), bytearray()
        self._headers: dict[bytes, bytes] = {}
        self._name = ""
        self._ended = self._has_file = False
        self.file_name: str | None = None
        self.media_type: str | None = None
        self._parser = _parser(self, boundary)

    def take(self, data: bytes) -> None:
        try:
            self._parser.write(data)
        except FormParserError:
            raise InvalidInput(
                "The form cannot be read. Send it as multipart/form-data with the boundary that its "
                "Content-Type names."
            ) from None

    def end(self) -> ImportOptions:
        if not self._ended:
            raise InvalidInput("The form ends before its last boundary. Send it again, whole.")
        if not self._has_file:
            raise InvalidInput("The form has no file. Send the feed as the field 'file'.").at(f"/{FILE}")
        if not self._upload.size_bytes:
            raise InvalidInput("The file is empty. Send a feed with at least one row.").at(f"/{FILE}")
        return self._options()

    def on_part_begin(self) -> None:
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def on_header_end(self) -> None:
        self._headers[bytes(self._header_name).lower()] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def on_headers_finished(self) -> None:
        _, disposition = parse_options_header(self._headers.get(b"content-disposition"))
        self._name = disposition.get(b"name", b"").decode("utf-8", "replace")[:MAX_NAME_CHARACTERS]
        if self._name == FILE:
            self._begin_file(disposition.get(b"filename"))
        elif self._name not in ImportOptions.model_fields:
            known = ", ".join([FILE, *ImportOptions.model_fields])
            raise InvalidInput(f"There is no field '{self._name}' here; there are: {known}.").at(
                f"/{self._name}"
            )
        elif self._name in self._fields or self._name in self._given:
            raise InvalidInput(f"{self._name} was sent twice. Send it once.").at(f"/{self._name}")
        else:
            self._fields[self._name] = bytearray()

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._name == FILE:
            self._upload.write(data[start:end])
            return
        value = self._fields[self._name]
        value += data[start:end]
        if len(value) > MAX_VALUE_BYTES:
            raise InvalidInput(f"{self._name} is longer than any of its values.").at(f"/{self._name}")

    def on_end(self) -> None:
        self._ended = True

    def _begin_file(self, name: bytes | None) -> None:
        if self._has_file:
            raise InvalidInput("The form has more than one file. Send one, or a ZIP of several.").at(
                f"/{FILE}"
            )
        self._has_file = True
        self._options()  # so that nobody uploads for an hour to learn of a typing error
        self.file_name = plain_name(name)
        self.media_type = self._headers.get(b"content-type", b"").decode("latin-1")[:MAX_NAME_CHARACTERS]

    def _options(self) -> ImportOptions:
        """Of the fields so far and the query. Raises what FastAPI's own validation raises."""
        fields = {name: value.decode("utf-8", "replace") for name, value in self._fields.items()}
        try:
            return ImportOptions.model_validate(self._given | fields)
        except ValidationError as error:
            found = error.errors(include_url=False)
            raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in found]) from None


def plain_name(name: bytes | None) -> str | None:
    """A file's name as it can be stored and shown: without folders and characters that do not show."""
    text = (name or b"").decode("utf-8", "replace").replace("\\", "/").rpartition("/")[2]
    return "".join(one for one in text if one.isprintable())[:MAX_NAME_CHARACTERS] or None


def _parser(form: FeedForm, boundary: bytes) -> MultipartParser:
    try:
        return MultipartParser(
            boundary,
            {
                "on_part_begin": form.on_part_begin,
                "on_part_data": form.on_part_data,
                "on_header_field": form.on_header_field,
                "on_header_value": form.on_header_value,
                "on_header_end": form.on_header_end,
                "on_headers_finished": form.on_headers_finished,
                "on_end": form.on_end,
            },
        )
    except FormParserError:
        raise InvalidInput("The form's boundary is too long. Use one of up to 70 characters.") from None
