"""What must be decided once, before any replica starts."""

from __future__ import annotations

from email.utils import parseaddr

from configs.serving import AppArgs
from configs.settings import Settings
from db import index_versions
from db.session import Database
from models.errors import ConfigurationError
from serve_app.context import ServingContext
from serve_app.served_model import choose_model


def serving_context(args: AppArgs) -> ServingContext:
    """Choose the model and the index version that goes with it. Raises ConfigurationError."""
    check_mail(Settings())
    database = Database.configured(connections=1)
    try:
        with database.transaction() as session:
            former = index_versions.indexed_with(session)
        model = choose_model(args.model, former)
        with database.transaction() as session:
            version = index_versions.ensure_live(session, model.key, model.dimension)
            version_id = version.id
    finally:
        database.close()
    if version_id is None:
        raise AssertionError("a stored row has an id")
    return ServingContext(args, model, version_id)


def check_mail(settings: Settings) -> None:
    """Raises ConfigurationError where mails could not be sent, or would carry links that lead nowhere."""
    if settings.smtp_host is not None and settings.public_url is None and settings.local_url is None:
        raise ConfigurationError(
            "SMTP_HOST is set but PUBLIC_URL is not: the links in mails would lead nowhere. Set PUBLIC_URL "
            "to the address at which shops reach this service, such as https://search.example.com."
        )
    if settings.smtp_from is not None and "@" not in parseaddr(settings.smtp_from)[1]:
        raise ConfigurationError(
            "SMTP_FROM is not an e-mail address. Write it like no-reply@example.com, or like "
            "'Rose Search <no-reply@example.com>'."
        )
