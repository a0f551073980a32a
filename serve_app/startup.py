"""What must be decided once, before any replica starts."""

from __future__ import annotations

import logging
from email.utils import parseaddr

from sqlalchemy.orm import Session

from configs.serving import AppArgs
from configs.settings import Settings
from db import index_versions
from db.session import Database
from models.errors import ConfigurationError
from models.image import IndexVersion
from serve_app.context import ServingContext
from serve_app.served_model import ServedModel, choose_model, served_model

logger = logging.getLogger("serve_app")


def serving_context(args: AppArgs) -> ServingContext:
    """Choose the model and the index version that goes with it. Raises ConfigurationError.

    The configured model counts until photos are indexed. Where a reindex replaced it since, the live
    version's model is served.
    """
    check_mail(Settings())
    database = Database.configured(connections=1)
    try:
        with database.transaction() as session:
            former, version = index_versions.indexed_with(session), index_versions.live(session)
        model = choose_model(args.model, former)
        with database.transaction() as session:
            known = index_versions.of_model(session, model.key)
            if former is None or version is None or version.source is None or known is None:
                return _first_context(session, args, model)
            if model.key == version.model_key:
                return _first_context(session, args, model)
    finally:
        database.close()
    logger.warning(
        "%s is configured, but the photos are indexed anew with %s, which is served. Update model.name.",
        model.name,
        version.source,
    )
    return context_of(args, version)


def _first_context(session: Session, args: AppArgs, model: ServedModel) -> ServingContext:
    version = index_versions.ensure_live(session, model.key, model.dimension, model.source, model.revision)
    return ServingContext(args, model, id_of(version))


def context_of(args: AppArgs, version: IndexVersion) -> ServingContext:
    """What an index version is served with: its own model, found where its row says.

    Raises ConfigurationError where the checkpoint cannot be had, or is another one by now.
    """
    if version.source is None:
        raise ConfigurationError(
            f"The index version {version.id} does not say where its model '{version.model_key}' is."
        )
    model = served_model(
        version.source, version.revision, hub_timeout_s=args.model.hub_timeout_s, fell_back=False
    ).prepared_as(version.model_key)
    if model.key != version.model_key:
        raise ConfigurationError(
            f"The checkpoint {version.source} is {model.key} now, but the index version {version.id} was "
            f"made with {version.model_key}. Put the former files back there."
        )
    return ServingContext(args, model, id_of(version))


def id_of(version: IndexVersion) -> int:
    """The id of a version that is stored."""
    if version.id is None:
        raise AssertionError("a stored row has an id")
    return version.id


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
