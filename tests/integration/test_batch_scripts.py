"""Batch work beside the running service, as Ray tasks in its own cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from db import embeddings
from db.session import Database
from tests.drawings import garment
from tests.shop_client import ShopClient
from tests.stack import PROJECT, Stack, environment

COLOURS = ("red", "blue", "green", "yellow", "black")
RETRIEVE = """
import json, sys
from pathlib import Path
import numpy as np
from scripts.join_service import join_service
join_service(Path(sys.argv[1]))
import ray
from ray import serve
from serve_app.tasks.retrieve_image_ids import retrieve_image_ids
context = serve.get_deployment_handle("Indexer", "fashion").live.remote().result(timeout_s=30).context
task = retrieve_image_ids.options(num_cpus=0.1)
print(json.dumps(ray.get(task.remote(int(sys.argv[2]), np.load(sys.argv[3]), 3, context))))
"""

EMBED = """
import json, sys
from pathlib import Path
import numpy as np
from scripts.join_service import join_service
join_service(Path(sys.argv[1]))
import ray
from ray import serve
from models.errors import AppError
from serve_app import handles
live = serve.get_deployment_handle("Indexer", "fashion").live.remote().result(timeout_s=30)

@ray.remote(num_cpus=0.1)
def embed(live, pixels, model_key):
    try:
        return handles.BulkImageEmbedderHandle(live.image_embedder, 30, model_key).embed(pixels).tolist()
    except AppError as error:
        return error.code

many, key = np.load(sys.argv[2]), live.context.model.key
few = many[:2]
assert few.nbytes < handles.BY_REFERENCE_BYTES <= many.nbytes
asked = [(many, key), (few, key), (many, "another@1"), (few, "another@1")]
print(json.dumps(ray.get([embed.remote(live, *one) for one in asked])))
"""


def python(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    variables = environment(PYTHONPATH=str(PROJECT))
    return subprocess.run(
        command, cwd=cwd, env=variables, capture_output=True, text=True, check=False, timeout=120
    )


def recommend(stack: Stack, email: str, prompts: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    (cwd / "prompts.txt").write_text(prompts, "utf-8")
    options = ("--email", email, "--prompts", str(cwd / "prompts.txt"), "--data-dir", str(stack.data_dir))
    return python("-m", "scripts.recommend", *options, cwd=cwd)


@pytest.fixture
def stocked(shop: ShopClient) -> ShopClient:
    for number, colour in enumerate(COLOURS):
        shop.add(garment("dress", colour, seed=number), name=f"{colour} dress")
    shop.wait_until_embedded()
    return shop


def email_of(stack: Stack, shop: ShopClient) -> str:
    ((email,),) = stack.execute("SELECT email FROM shop WHERE id = :id", id=shop.shop_id)
    return str(email)


def test_a_file_of_prompts_gets_the_answers_of_the_api(
    stack: Stack, stocked: ShopClient, tmp_path: Path
) -> None:
    prompts = [f"a {colour} dress, number {number}" for number in range(14) for colour in COLOURS]
    done = recommend(stack, email_of(stack, stocked), "\n".join(prompts) + "\n", tmp_path)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["prompt"] for line in lines] == prompts
    for line in lines[:: len(lines) // 5]:
        answer = {one["ImageID"]: one["score"] for one in stocked.recommendations(line["prompt"], 5)}
        scores = [one["score"] for one in line["recommendations"]]
        assert scores == sorted(scores, reverse=True)
        assert {one["image_id"]: one["score"] for one in line["recommendations"]} == pytest.approx(
            answer, abs=2e-2
        )


def test_a_mistake_in_a_batch_is_one_line(stack: Stack, stocked: ShopClient, tmp_path: Path) -> None:
    email = email_of(stack, stocked)
    for wrong, prompts, words in (
        ("nobody@example.com", "a dress\n", "no shop with the e-mail address"),
        (email, "a dress\n\nanother\n", "line 2"),
        (email, "x" * 1001, "line 1"),
    ):
        done = recommend(stack, wrong, prompts, tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr
    (tmp_path / "prompts.txt").write_text("a dress\n", "utf-8")
    nowhere = python(
        *("-m", "scripts.recommend", "--email", email, "--prompts", str(tmp_path / "prompts.txt")),
        *("--data-dir", str(tmp_path / "nowhere")),
        cwd=tmp_path,
    )
    assert nowhere.returncode == 2
    assert "No service runs on" in nowhere.stderr


def test_the_nearest_photos_of_many_vectors_at_once(
    stack: Stack, stocked: ShopClient, tmp_path: Path
) -> None:
    ((model_key,),) = stack.execute("SELECT model_key FROM index_version WHERE state = 'live'")
    database = Database(stack.database_url, connections=1)
    with database.transaction() as session:
        vectors = embeddings.load(session, stocked.shop_id, model_key)
    database.close()
    ids = sorted(vectors)
    np.save(tmp_path / "vectors.npy", np.stack([vectors[one] for one in ids]))
    done = python(
        "-c", RETRIEVE, str(stack.data_dir), str(stocked.shop_id), str(tmp_path / "vectors.npy"), cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [len(hits) for hits in found] == [3] * len(ids)
    assert [hits[0][0] for hits in found] == ids
    assert [hits[0][1] for hits in found] == pytest.approx([1.0] * len(ids), abs=1e-4)


def test_photos_in_rays_object_store_get_the_same_vectors_and_errors(stack: Stack, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), dtype=np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    done = python("-c", EMBED, str(stack.data_dir), str(tmp_path / "pixels.npy"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    many, few, *refused = json.loads(done.stdout)
    assert len(many) == 50
    assert np.abs(np.array(many[:2]) - np.array(few)).max() < 5e-3
    assert refused == ["dependency_unavailable"] * 2
