"""What a local service keeps in its data directory, and how scripts find a running one."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path

from configs.settings import Settings
from models.errors import ConfigurationError

SCRATCH_PREFIX = "fr-"


@dataclass(frozen=True, slots=True)
class RunningService:
    """Written when the service is ready, removed when it stops. ``metrics_urls``: for Prometheus.

    ``local_database``: it is the directory's own.
    """

    pid: int
    url: str
    ray_address: str
    chroma_url: str
    database_url: str
    media_url: str = ""
    local_database: bool = True
    metrics_urls: tuple[str, ...] = ()

    def environment(self) -> dict[str, str]:
        """What a script beside the service needs of its environment."""
        return {
            "CHROMA_URL": self.chroma_url,
            "DATABASE_URL": self.database_url,
            "MEDIA_URL": self.media_url,
        }


class DataDirectory:
    """``postgres/``, ``chroma/``, ``media/``, ``logs/``, the secrets and ``running.json``."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()

    def create(self) -> None:
        """Raises ConfigurationError when it cannot be written."""
        try:
            for folder in (self.path, self.path / "media", self.logs):
                folder.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ConfigurationError(
                f"The data directory {self.path} cannot be written ({error.strerror}). "
                "Give another: --data-dir DIR."
            ) from None

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    def replace_scratch(self, scratch: Path) -> Path | None:
        """Note this run's temporary folder; returns the one of a run that did not tidy up."""
        note = self.path / "scratch"
        former = Path(note.read_text("utf-8").strip()) if note.exists() else None
        note.write_text(str(scratch), "utf-8")
        left = former is not None and former.name.startswith(SCRATCH_PREFIX) and former.is_dir()
        return former if left else None

    @property
    def ray_token(self) -> Path:
        return self.path / "ray-token"

    def secret_key(self) -> str:
        """The root secret; made at the first call and kept, since stored keys depend on it."""
        path = self.path / "secret-key"
        if not path.exists():
            write_secret(path, secrets.token_hex(32))
        return path.read_text("utf-8").strip()

    def announce(self, service: RunningService) -> None:
        part = self.path / ".running.json"
        part.unlink(missing_ok=True)
        part.touch(mode=0o600)
        part.write_text(json.dumps(asdict(service)), "utf-8")
        part.replace(self.path / "running.json")

    def withdraw(self) -> None:
        (self.path / "running.json").unlink(missing_ok=True)

    def running(self) -> RunningService | None:
        """The service that announced itself here and still lives."""
        try:
            service = RunningService(**json.loads((self.path / "running.json").read_text("utf-8")))
            os.kill(service.pid, 0)
        except (OSError, ValueError, TypeError):
            return None
        return service


def local_defaults(directory: DataDirectory) -> dict[str, str]:
    """Environment variables for what the environment leaves open and no server is needed for."""
    settings = Settings()
    defaults: dict[str, str] = {}
    if settings.media_url is None:
        defaults["MEDIA_URL"] = (directory.path / "media").as_uri()
    if settings.secret_key is None:
        defaults["SECRET_KEY"] = directory.secret_key()
    return defaults


def write_secret(path: Path, text: str) -> None:
    """Readable by its owner alone from its first byte on; a file that is there already stays."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
