"""Every error that a user of the service can be shown.

AppError
├── InvalidInput                 422  a field's value is not acceptable
│   ├── PhotoMissing             422
│   ├── PhotoEmpty               422
│   ├── PhotoUnreadable          422  damaged or truncated image data
│   └── UnknownReference         422  a Category, Styles or AgeGroup id that does not exist
├── PhotoTypeUnsupported         415  the bytes are not JPEG, PNG, WebP, …
├── PhotoTooLarge                413  too many bytes or too many pixels
├── NotAuthenticated             401  no key, unknown key, revoked key
├── NotFound                     404  no such thing for this shop
├── Conflict                     409  e.g. a sku that the shop already uses
├── TooBusy                      503  a queue is full; try again
├── DependencyUnavailable        503  PostgreSQL, Chroma, the media store or an embedder does not answer
├── DependencyTimeout            504  it answered too late
└── ConfigurationError           500  raised at start-up only, never inside a request

An ``AppError`` takes one message, so that it survives pickling through Ray; ``status_code`` and ``code``
are class attributes. ``pointer`` names the field for RFC 9457 ``errors`` and is class-level too, or set
through ``at()``.
"""

from __future__ import annotations

from typing import ClassVar, Self


class AppError(Exception):
    """Base of all errors whose message is written for the person who gets it."""

    status_code: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.pointer: str | None = None

    def at(self, pointer: str) -> Self:
        """Name the field at fault (RFC 6901 pointer, e.g. ``/Photo``); returns self."""
        self.pointer = pointer
        return self


class InvalidInput(AppError):
    status_code = 422
    code = "invalid_input"
    title = "Invalid input"


class PhotoMissing(InvalidInput):
    code = "photo_missing"
    title = "Photo missing"


class PhotoEmpty(InvalidInput):
    code = "photo_empty"
    title = "Photo is empty"


class PhotoUnreadable(InvalidInput):
    code = "photo_unreadable"
    title = "Photo cannot be read"


class UnknownReference(InvalidInput):
    code = "unknown_reference"
    title = "Unknown reference"


class PhotoTypeUnsupported(AppError):
    status_code = 415
    code = "photo_type_unsupported"
    title = "Photo type not supported"


class PhotoTooLarge(AppError):
    status_code = 413
    code = "photo_too_large"
    title = "Photo too large"


class NotAuthenticated(AppError):
    status_code = 401
    code = "not_authenticated"
    title = "Not authenticated"


class NotFound(AppError):
    status_code = 404
    code = "not_found"
    title = "Not found"


class Conflict(AppError):
    status_code = 409
    code = "conflict"
    title = "Conflict"


class TooBusy(AppError):
    status_code = 503
    code = "too_busy"
    title = "Too busy"


class DependencyUnavailable(AppError):
    status_code = 503
    code = "dependency_unavailable"
    title = "A part of the service does not answer"


class DependencyTimeout(AppError):
    status_code = 504
    code = "dependency_timeout"
    title = "A part of the service answered too late"


class ConfigurationError(AppError):
    code = "configuration_error"
    title = "Configuration error"
