"""Answer a file of prompts for one shop, as Ray tasks beside the running service.

    python -m scripts.recommend --email me@shop.example --prompts FILE --data-dir data > answers.jsonl

One prompt a line in, one JSON object a line out, in the same order. Each gets the best there is: no filters,
no score floor, and nothing is logged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import track

from db import keys
from db.session import Database
from models.errors import InvalidInput, NotFound
from models.recommendation_api import MAX_PROMPT_CHARACTERS, MAX_RECOMMENDATIONS
from scripts.command import run
from scripts.console import log
from scripts.join_service import APP_NAME, join_service

if TYPE_CHECKING:
    from serve_app.tasks.recommend import BatchHit

PROMPTS_PER_TASK = 64


def main() -> int:
    return run(_parser(), _recommend)


def _recommend(arguments: argparse.Namespace) -> int:
    prompts = read_prompts(arguments.prompts)
    join_service(arguments.data_dir)
    shop_id = _shop_id(arguments.email)
    for prompt, hits in answers(shop_id, prompts, arguments.count):
        line = {"prompt": prompt, "recommendations": [asdict(hit) for hit in hits]}
        sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
    return 0


def read_prompts(path: Path) -> list[str]:
    """Raises InvalidInput naming the line at fault."""
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"The prompts {path} cannot be read ({type(error).__name__}). Give a UTF-8 text file."
        ) from None
    for number, line in enumerate(lines, start=1):
        if not 1 <= len(line.strip()) <= MAX_PROMPT_CHARACTERS:
            raise InvalidInput(
                f"{path}, line {number}: a prompt has 1 to {MAX_PROMPT_CHARACTERS} characters; "
                f"this one has {len(line.strip())}."
            )
    return [line.strip() for line in lines]


def answers(shop_id: int, prompts: list[str], count: int) -> Iterator[tuple[str, list[BatchHit]]]:
    """Each prompt with its photos, in order; all tasks are in flight at once and Ray spreads them."""
    import ray
    from ray import serve

    from serve_app.tasks.recommend import recommend

    live = serve.get_deployment_handle("Indexer", APP_NAME).live.remote().result(timeout_s=30)
    parts = [prompts[i : i + PROMPTS_PER_TASK] for i in range(0, len(prompts), PROMPTS_PER_TASK)]
    task = recommend.options(num_cpus=live.context.args.indexer.task_num_cpus)
    pending = [task.remote(shop_id, part, count, live) for part in parts]
    for part, reference in zip(parts, track(pending, "Answering", console=log), strict=True):
        yield from zip(part, ray.get(reference), strict=True)


def _shop_id(email: str) -> int:
    database = Database.configured(connections=1)
    try:
        with database.transaction() as session:
            shop = keys.find_shop(session, email.strip().lower())
            if shop is None or shop.id is None:
                raise NotFound(f"There is no shop with the e-mail address {email}.")
            return shop.id
    finally:
        database.close()


def _count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= MAX_RECOMMENDATIONS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MAX_RECOMMENDATIONS}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.recommend", description=summary)
    parser.add_argument("--email", required=True, help="the shop's e-mail address")
    parser.add_argument("--prompts", required=True, type=Path, help="a text file, one prompt a line")
    parser.add_argument("--count", type=_count, default=5, help="photos per prompt (default: 5)")
    parser.add_argument("--data-dir", type=Path, help="the data directory of a running local service")
    return parser


if __name__ == "__main__":
    sys.exit(main())
