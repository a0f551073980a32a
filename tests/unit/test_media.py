from __future__ import annotations

import hashlib
import logging
import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import s3fs
from moto.server import ThreadedMotoServer

from db.media import MediaStore, image_prefix, new_source_key, photo_key, source_folder
from models.errors import DependencyUnavailable, InvalidInput, NotFound


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """A bucket of a real S3 server, in a thread."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "test")
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("photos")
        yield "s3://photos/all"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(params=["file", "path", "memory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> MediaStore:
    if request.param == "s3":
        # A folder for each test: the server lives longer.
        return MediaStore(f"{request.getfixturevalue('s3_url')}/{uuid.uuid4().hex}")
    urls = {"file": f"file://{tmp_path}/photos", "path": f"{tmp_path}/photos", "memory": "memory://photos"}
    return MediaStore(urls[request.param])


def test_a_key_names_shop_image_and_photo() -> None:
    key = photo_key(3, 7, "0123456789abcdef0123", "image/jpeg")
    assert re.fullmatch(r"shops/3/7/0123456789abcdef-[0-9a-f]{8}\.jpg", key)
    assert photo_key(3, 7, "0123456789abcdef0123", "image/jpeg") != key
    assert key.startswith(image_prefix(3, 7) + "/")
    assert photo_key(3, 7, "0" * 64, "image/webp").endswith(".webp")


def test_a_file_comes_back_until_its_tree_is_deleted(store: MediaStore) -> None:
    store.save("shops/1/2/a.jpg", b"first")
    store.save("shops/1/2/a.jpg", b"second")
    store.save("shops/1/22/a.jpg", b"other photo")
    assert store.load("shops/1/2/a.jpg") == b"second"
    assert store.exists("shops/1/2/a.jpg")
    store.delete_tree("shops/1/2")
    store.delete_tree("shops/1/2")
    assert not store.exists("shops/1/2/a.jpg")
    assert store.load("shops/1/22/a.jpg") == b"other photo"
    with pytest.raises(NotFound):
        store.load("shops/1/2/a.jpg")


@pytest.mark.parametrize(
    "key", ["", "/etc/passwd", "../a", "a/../../b", "a//b", "a/./b", "a\\b", "a\0b", "a/", "é"]
)
def test_a_key_that_leaves_the_store_is_refused(store: MediaStore, key: str) -> None:
    for act in (store.load, store.exists, store.delete_tree):
        with pytest.raises(InvalidInput):
            act(key)
    with pytest.raises(InvalidInput):
        store.save(key, b"x")


def test_a_save_leaves_no_other_file(tmp_path: Path) -> None:
    MediaStore(f"file://{tmp_path}").save("shops/1/2/a.jpg", b"photo")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.jpg"]


def test_an_unusable_store_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "shops").write_text("a file where a directory should be")
    with pytest.raises(DependencyUnavailable):
        MediaStore(f"file://{tmp_path}").save("shops/1/2/a.jpg", b"photo")


def test_an_upload_is_seen_once_it_is_published(store: MediaStore) -> None:
    upload = store.begin_upload()
    for part in (b"sku,name\n", b"A,Dress\n"):
        upload.write(part)
    upload.seal()
    key = new_source_key(1)
    assert not store.exists(key)
    upload.publish(key)
    with store.open(key) as file:
        file.seek(4)
        assert file.read(4) == b"name"
    assert (upload.size_bytes, upload.sha256) == (17, hashlib.sha256(store.load(key)).hexdigest())
    upload.discard()
    assert store.exists(key)
    store.delete_tree(source_folder(key))
    assert not store.exists(key)


def test_an_upload_that_is_discarded_leaves_nothing(tmp_path: Path) -> None:
    upload = MediaStore(f"file://{tmp_path}").begin_upload()
    upload.write(b"half of it")
    upload.discard()
    upload.discard()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_what_a_crash_left_of_uploads_goes_in_time(tmp_path: Path) -> None:
    store = MediaStore(f"file://{tmp_path}")
    assert store.remove_stale_uploads(0) == 0
    left, under_way = store.begin_upload(), store.begin_upload()
    under_way.write(b"x")
    (old,) = [path for path in tmp_path.rglob("*") if path.is_file()][:1]
    os.utime(old, (0, 0))
    assert store.remove_stale_uploads(3600) == 1
    assert not old.exists()
    for upload in (left, under_way):
        upload.discard()
