"""Every error that a user of the service can be shown.

AppError
├── InvalidInput                 422  a field's value is not acceptable
│   ├── PhotoMissing             422
│   ├── PhotoEmpty               422
│   ├── PhotoUnreadable          422  damaged or truncated image data
│   ├── FeedUnreadable           422  an import's file that cannot be read as a whole
│   ├── UnknownReference         422  a Category, Styles or AgeGroup that does not exist
│   ├── DuplicateSku             422  a feed's row whose sku another row before it has
│   ├── RowsRejected             422  a feed with broken rows that was to be stored whole or not at all
│   ├── RemovalRefused           422  a full feed that would remove too much of the catalogue
│   ├── UrlRefused               422  a URL that may not be asked: no public server, odd form
│   │   └── PhotoUrlRefused      422  the same of a photo
│   └── PhotoUrlFailed           422  the server that has the photo did not give it
├── PhotoTypeUnsupported         415  the bytes are not JPEG, PNG, WebP, …
├── PhotoTooLarge                413  too many bytes or too many pixels
├── MediaTypeUnsupported         415  a body of a kind that the route does not take
├── BodyTooLarge                 413  more bytes than any request of that route needs
├── BodyTooSlow                  408  a body that stopped coming
├── NotAuthenticated             401  no key, unknown key, revoked key
├── Forbidden                    403  a valid key or session that may not do this
│   └── OriginNotAllowed         403  a publishable key on a web page of another site
├── NotFound                     404  no such thing for this shop
├── Gone                         410  a one-time link that was used or has expired
├── Conflict                     409  e.g. a sku that the shop already uses
├── TooManyRequests              429  a rate limit
│   └── QuotaExceeded            429  a quota of the shop: photos, prompts a day
├── TooBusy                      503  a queue is full; try again
├── DependencyUnavailable        503  PostgreSQL, Chroma, the media store or an embedder does not answer
├── DependencyTimeout            504  it answered too late
└── ConfigurationError           500  raised at start-up only, never inside a request

An ``AppError`` takes one message, so that it survives pickling through Ray; ``status_code`` and ``code``
are class attributes, and so is ``retry_after_s``, which holds where the request's ``response_headers`` say
nothing more exact. ``pointer`` names the field for RFC 9457 ``errors`` and is class-level too, or set
through ``at()``.
"""

from __future__ import annotations

from typing import ClassVar, Self


class AppError(Exception):
    """Base of all errors whose message is written for the person who gets it."""

    status_code: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    title: ClassVar[str] = "Internal error"
    retry_after_s: ClassVar[int | None] = None

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


class FeedUnreadable(InvalidInput):
    code = "feed_unreadable"
    title = "Feed cannot be read"


class UnknownReference(InvalidInput):
    code = "unknown_reference"
    title = "Unknown reference"


class DuplicateSku(InvalidInput):
    code = "duplicate_sku"
    title = "Duplicate sku"


class RowsRejected(InvalidInput):
    code = "rows_rejected"
    title = "Rows rejected"


class RemovalRefused(InvalidInput):
    code = "removal_refused"
    title = "Removal refused"


class UrlRefused(InvalidInput):
    code = "url_refused"
    title = "URL refused"


class PhotoUrlRefused(UrlRefused):
    code = "photo_url_refused"
    title = "Photo URL refused"


class PhotoUrlFailed(InvalidInput):
    code = "photo_url_failed"
    title = "Photo URL failed"


class PhotoTypeUnsupported(AppError):
    status_code = 415
    code = "photo_type_unsupported"
    title = "Photo type not supported"


class PhotoTooLarge(AppError):
    status_code = 413
    code = "photo_too_large"
    title = "Photo too large"


class BodyTooLarge(AppError):
    status_code = 413
    code = "body_too_large"
    title = "Body too large"


class BodyTooSlow(AppError):
    status_code = 408
    code = "body_too_slow"
    title = "Body too slow"


class MediaTypeUnsupported(AppError):
    status_code = 415
    code = "media_type_unsupported"
    title = "Media type not supported"


class NotAuthenticated(AppError):
    status_code = 401
    code = "not_authenticated"
    title = "Not authenticated"


class Forbidden(AppError):
    status_code = 403
    code = "forbidden"
    title = "Forbidden"


class OriginNotAllowed(Forbidden):
    code = "origin_not_allowed"
    title = "Origin not allowed"


class NotFound(AppError):
    status_code = 404
    code = "not_found"
    title = "Not found"


class Gone(AppError):
    status_code = 410
    code = "gone"
    title = "Gone"


class Conflict(AppError):
    status_code = 409
    code = "conflict"
    title = "Conflict"


class TooManyRequests(AppError):
    status_code = 429
    code = "too_many_requests"
    title = "Too many requests"
    retry_after_s = 1


class QuotaExceeded(TooManyRequests):
    code = "quota_exceeded"
    title = "Quota exceeded"
    retry_after_s = 60


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
