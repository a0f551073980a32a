"""Addresses and secrets, read from the environment (``.env.example`` lists every variable)."""

from __future__ import annotations

import hashlib
import hmac
import re

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL

_SCHEME = re.compile(r"^postgres(ql)?://")

SERVE_URL = "http://127.0.0.1:8000"


class Settings(BaseSettings):
    """What differs between one installation and the next; tuning belongs in the YAML files."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    database_url: str | None = Field(default=None, description="Whole URL; wins over the DB_* parts.")
    db_host: str = "127.0.0.1"
    db_port: int = 5432
    db_name: str | None = None
    db_user: str | None = None
    db_password: SecretStr | None = None
    chroma_url: str | None = Field(default=None, description="e.g. http://127.0.0.1:8001")
    media_url: str | None = Field(
        default=None, description="fsspec URL: file:///var/photos, s3://bucket/photos"
    )
    secret_key: SecretStr | None = Field(default=None, description="Root of every derived secret.")
    public_url: str | None = Field(default=None, description="How clients reach the service, for photo URLs.")
    local_url: str | None = Field(
        default=None, description="Set by the launcher: where this machine reaches it, for links in mails."
    )
    link_log: str | None = Field(
        default=None, description="Set by the launcher: the file for links that no mail server takes."
    )
    trusted_proxies: int = Field(
        default=0, ge=0, description="Proxies in front that append the client's address to X-Forwarded-For."
    )
    redis_url: SecretStr | None = Field(default=None, description="redis://…; rate limits for all replicas.")
    smtp_host: str | None = Field(default=None, description="Without it, links are logged, not mailed.")
    smtp_port: int = Field(default=587, ge=1, le=65_535)
    smtp_user: str | None = None
    smtp_password: SecretStr | None = None
    smtp_starttls: bool = True
    smtp_from: str | None = Field(default=None, description="Sender's address; None: made from the others.")

    def page_base(self) -> str:
        """Beginning of links in mails, without a slash at its end. Never taken from a request."""
        return (self.public_url or self.local_url or SERVE_URL).rstrip("/")

    def sqlalchemy_url(self) -> URL | str | None:
        """The database's address, or None where nothing names one."""
        if self.database_url is not None:
            return _SCHEME.sub("postgresql+psycopg2://", self.database_url, count=1)
        if self.db_name is None or self.db_user is None:
            return None
        password = self.db_password.get_secret_value() if self.db_password is not None else None
        return URL.create(
            "postgresql+psycopg2",
            username=self.db_user,
            password=password,
            host=self.db_host,
            port=self.db_port,
            database=self.db_name,
        )


def environment_names() -> set[str]:
    """The variables that ``Settings`` reads."""
    return {name.upper() for name in Settings.model_fields}


def derive_secret(root: str, purpose: str) -> bytes:
    """A 32-byte secret for one purpose, so that a leak of one does not open another (RFC 5869, expand)."""
    return hmac.new(root.encode(), purpose.encode() + b"\x01", hashlib.sha256).digest()
