"""Show the product: a fresh stack, a shop, its catalogue, six prompts and a photo, their answers.

    python -m scripts.demo                                  (make demo)
    python -m scripts.demo --serve --data-dir data          (make serve)

With --serve the preparation is done once per data directory and the service keeps running.
"""

from __future__ import annotations

import argparse
import json
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx

from models.errors import AppError
from scripts.catalogue import upload_catalogue, wait_until_indexed
from scripts.console import log, out
from scripts.contact_sheet import write_contact_sheet
from scripts.create_shop import create_shop_in
from scripts.own_service import start, stop, wait_until_it_runs
from serve_app.data_directory import DataDirectory, write_secret

PROJECT = Path(__file__).resolve().parents[1]
CATALOGUE = PROJECT / "assets" / "catalogue"
PROMPTS = (
    "A red dress with floral patterns",
    "a checked scarf for my grandfather",
    "something with polka dots",
    "striped t-shirts",
    "a yellow handbag",
    "boots",
)
CHANGE = "but in black"
TOP = 5


def main() -> int:
    arguments = _parser().parse_args()
    # The service is in a session of its own: if this process just ended, it would go on.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    temporary = None if arguments.data_dir else Path(tempfile.mkdtemp(prefix="fashion-demo-"))
    service: subprocess.Popen[bytes] | None = None
    try:
        directory = DataDirectory(temporary or arguments.data_dir)
        service = start(directory, arguments.model, arguments.port)
        with _client(directory, service) as client:
            _prepare(client, arguments.catalogue)
            if not arguments.serve:
                _ask(client, arguments.sheet)
                return 0
            _explain(directory, str(client.base_url))
        return _keep_serving(service)
    except AppError as error:
        log.print(f"error: {error.message}", markup=False)
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        if service is not None:
            stop(service)
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _client(directory: DataDirectory, service: subprocess.Popen[bytes]) -> httpx.Client:
    """Waits until the service announces itself; makes the demo shop at the first start."""
    running = wait_until_it_runs(directory, service)
    key_file = directory.path / "demo-key"
    if not key_file.exists():
        write_secret(
            key_file, create_shop_in(directory, directory.secret_key(), "Demo shop", "demo@example.com")
        )
    key = key_file.read_text("utf-8").strip()
    return httpx.Client(base_url=running.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)


def _prepare(client: httpx.Client, catalogue: Path) -> None:
    known = {photo["sku"] for photo in wait_until_indexed(client, quiet=True)}
    sent = upload_catalogue(client, catalogue, known)
    if sent:
        wait_until_indexed(client)


def _ask(client: httpx.Client, sheet: Path) -> None:
    from scripts.answers import print_answers

    answers = [(prompt, _answer(client, {"prompt": prompt})) for prompt in PROMPTS]
    best = answers[0][1]["recommendations"][0]
    like_it = _answer(client, {"image_id": best["ImageID"], "prompt": CHANGE})
    print_answers([*answers, (f"{best['name']}: like this, {CHANGE}", like_it)])
    write_contact_sheet(client, answers, sheet)
    out.print(f"Contact sheet of the answers: {sheet.resolve()}", markup=False)


def _answer(client: httpx.Client, query: dict[str, Any]) -> dict[str, Any]:
    response = client.post("/api/recommendations/", json={**query, "number_of_images": TOP})
    response.raise_for_status()
    answer: dict[str, Any] = response.json()
    return answer


def _explain(directory: DataDirectory, url: str) -> None:
    key = directory.path / "demo-key"
    body = json.dumps({"prompt": PROMPTS[0]})
    out.print(
        f"\nThe demo shop's key is in {key}. Try:\n\n"
        f'  curl -s {url}/api/recommendations/ -H "Authorization: Bearer $(cat {key})" \\\n'
        f"       -H 'Content-Type: application/json' -d '{body}'\n\n"
        f"API description: {url}/docs   Ctrl-C stops.",
        markup=False,
    )


def _keep_serving(service: subprocess.Popen[bytes]) -> int:
    try:
        return service.wait()
    except KeyboardInterrupt:
        return 0


def _parser() -> argparse.ArgumentParser:
    summary = (__doc__ or "").splitlines()[0]
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description=summary)
    parser.add_argument("--model", help="a hub name or a checkpoint directory (default: the config's)")
    parser.add_argument("--data-dir", type=Path, help="keep the data there (default: a temporary directory)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--serve", action="store_true", help="keep serving instead of asking prompts")
    parser.add_argument(
        "--catalogue", type=Path, default=CATALOGUE, help="directory with catalogue.csv and photos/"
    )
    parser.add_argument(
        "--sheet", type=Path, default=Path("build/demo-answers.png"), help="contact sheet to write"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
