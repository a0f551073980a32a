"""configs/edge/nginx.conf in a real nginx, in front of a server that tells what it was sent."""

from __future__ import annotations

import json
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from configs.serving import ImportArgs, PhotoArgs
from serve_app.local_environment import free_ports
from serve_app.middleware import FEED_PATH, MAX_BODY_BYTES, PHOTO_PATHS

CONFIG = Path(__file__).parents[2] / "configs" / "edge" / "nginx.conf"
PATIENCE_S = 20.0
MIB = 2**20


class Node(BaseHTTPRequestHandler):
    """Answers with the headers and the size of the body that it got."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(0)

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self._answer(len(self.rfile.read(size)))

    def _answer(self, size: int) -> None:
        told = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps({"path": self.path, "size": size, "headers": told}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Names:
    """A DNS server that says of every name: 127.0.0.1, where the node is, and 127.0.0.2, where nobody is."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(512)
            if not query:
                return
            question = query[12 : query.index(b"\0", 12) + 5]
            answers = [
                struct.pack("!HHHIH", 0xC00C, 1, 1, 5, 4) + socket.inet_aton(address)
                for address in ("127.0.0.1", "127.0.0.2")
            ]
            head = query[:2] + struct.pack("!HHHHH", 0x8180, 1, len(answers), 0, 0)
            self._socket.sendto(head + question + b"".join(answers), client)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()


class Edge:
    """nginx with this project's file, on ports that are free, and one node; the other one is down."""

    def __init__(self, directory: Path, binary: str) -> None:
        self._node = ThreadingHTTPServer(("127.0.0.1", 0), Node)
        threading.Thread(target=self._node.serve_forever, daemon=True).start()
        self._names = Names()
        https, health = free_ports(2)
        _make_certificate(directory)
        text = CONFIG.read_text("utf-8")
        for old, new in {
            "listen 8000 ": f"listen 127.0.0.1:{https} ",
            "listen 127.0.0.1:8081": f"listen 127.0.0.1:{health}",
            "resolver 127.0.0.11 ": f"resolver 127.0.0.1:{self._names.port} ",
            "http://serve:8000": f"http://serve:{self._node.server_port}",
            "/tmp/": f"{directory}/",
            "/certs/": f"{directory}/",
            "error_log stderr": f"error_log {directory}/error.log",
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        config = directory / "nginx.conf"
        config.write_text(text, "utf-8")
        self.health = f"http://127.0.0.1:{health}/readyz"
        self.http = httpx.Client(base_url=f"https://127.0.0.1:{https}", verify=False, trust_env=False)
        # Started by root, nginx would become somebody who may not look into this directory.
        user = "user root;" if os.geteuid() == 0 else ""
        self._process = subprocess.Popen(
            [binary, "-e", f"{directory}/error.log", "-c", str(config), "-g", f"daemon off; {user}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.http.get("/healthz").raise_for_status()
                return
            except httpx.HTTPError:
                assert time.monotonic() < deadline, "nginx does not answer"
                assert self._process.poll() is None, "nginx ended"
                time.sleep(0.05)

    def stop_node(self) -> None:
        self._node.shutdown()
        self._node.server_close()

    def stop(self) -> None:
        self.http.close()
        self._process.terminate()
        self._process.wait()
        self.stop_node()
        self._names.stop()


def _make_certificate(directory: Path) -> None:
    subject = ["-x509", "-days", "2", "-subj", "/CN=localhost", "-newkey", "ec", "-nodes"]
    files = ["-keyout", str(directory / "edge.key"), "-out", str(directory / "edge.crt")]
    curve = ["-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(["openssl", "req", *subject, *curve, *files], check=True, capture_output=True)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    binary = shutil.which("nginx")
    if binary is None:
        pytest.skip("nginx is not installed (apt install nginx)")
    running = Edge(tmp_path_factory.mktemp("edge"), binary)
    try:
        running.wait()
        yield running
    finally:
        running.stop()


def test_requests_arrive_although_a_node_is_down(edge: Edge) -> None:
    for _ in range(8):
        assert edge.http.post("/api/events/", content=b"x" * 10).json()["size"] == 10


def test_clients_cannot_lie_about_their_address_nor_steer_serve(edge: Edge) -> None:
    lies = {
        "X-Forwarded-For": "203.0.113.9",
        "X-Request-Timeout-Seconds": "0",
        "X-Request-Disconnect-Disabled": "?1",
    }
    told = edge.http.get("/healthz?a=%2F", headers=lies | {"Host": "search.shop.example"}).json()
    assert told["path"] == "/healthz?a=%2F"
    assert told["headers"]["x-forwarded-for"] == "127.0.0.1"
    assert told["headers"]["x-forwarded-proto"] == "https"
    assert told["headers"]["host"] == "search.shop.example"
    assert not {"x-request-timeout-seconds", "x-request-disconnect-disabled"} & told["headers"].keys()


@pytest.mark.parametrize("path", ["/-/routes", "/-/healthz", "/%2d/routes", "/x/..//-/routes", "/metrics"])
def test_what_is_serves_own_is_hidden(edge: Edge, path: str) -> None:
    assert edge.http.get(path).status_code == 404


@pytest.mark.parametrize(
    ("path", "largest"),
    [
        ("/api/shops/", MAX_BODY_BYTES),
        *((path, PhotoArgs().max_bytes * 4 // 3 + MIB) for path in PHOTO_PATHS),
    ],
)
def test_the_service_itself_refuses_bodies_that_are_a_little_too_large(
    edge: Edge, path: str, largest: int
) -> None:
    assert edge.http.post(path, content=b"x" * (largest + 1)).json()["size"] == largest + 1


@pytest.mark.parametrize(
    ("path", "size"), [("/api/shops/", 2 * MIB), ("/api/tags", 32 * MIB), ("/api/tagsx", 2 * MIB)]
)
@pytest.mark.parametrize("chunked", [False, True])
def test_the_edge_refuses_those_that_are_far_too_large(
    edge: Edge, path: str, size: int, chunked: bool
) -> None:
    body = b"x" * size
    refused = edge.http.post(path, content=iter([body]) if chunked else body)
    assert refused.status_code == 413
    assert refused.headers["content-type"] == "application/problem+json"
    problem = refused.json()
    assert (problem["status"], problem["code"]) == (413, "body_too_large")
    assert problem["request_id"]


def test_feeds_have_room() -> None:
    feeds = CONFIG.read_text("utf-8").partition("bulk/?$ {")[2]
    size_mib = int(feeds.partition("client_max_body_size ")[2].partition("m;")[0])
    assert ImportArgs().max_bytes + MIB == size_mib * MIB


@pytest.mark.parametrize("path", [FEED_PATH, FEED_PATH.rstrip("/")])
def test_feeds_are_no_photos(edge: Edge, path: str) -> None:
    assert edge.http.post(path, content=b"x" * (32 * MIB)).json()["size"] == 32 * MIB


def test_health_is_that_of_the_service(edge: Edge) -> None:
    assert httpx.get(edge.health, trust_env=False).json()["path"] == "/readyz"


def test_without_a_node_the_answer_is_a_problem(edge: Edge) -> None:
    """Last: it stops the node."""
    edge.stop_node()
    answer = edge.http.get("/healthz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "dependency_unavailable"
    assert httpx.get(edge.health, trust_env=False).status_code == 502
