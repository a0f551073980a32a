"""The log of prompts."""

from __future__ import annotations

from sqlalchemy.orm import Session

from models.prompt import Prompt


def record(session: Session, prompt: Prompt) -> None:
    """Add one answered request to the log."""
    session.add(prompt)
    session.flush()
