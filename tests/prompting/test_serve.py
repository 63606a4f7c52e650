"""The service: its answers, also to wrong, hostile, slow and many requests."""

import collections
import concurrent.futures
import json
import shlex
import signal
import socket
import time

import pytest

import prompting.__main__ as command
from prompting import load
from tests.prompting import service
from tests.prompting.service import CLASSES, bomb, encoded_image, predict, request

pytest.importorskip("fastapi")

import anyio  # noqa: E402

from prompting.predict import load_zero_shot  # noqa: E402
from prompting.serve import app as serve_app  # noqa: E402
from prompting.serve.app import Limits, build_app  # noqa: E402

SECONDS = 0.6


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    return load(service.save_pocket_prompt(tmp_path_factory.mktemp("prompt")))


@pytest.fixture(scope="module")
def port(predictor):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(serve_app, "HEADER_SECONDS", SECONDS)
        bounds = Limits(
            images=3, classes=5, megabytes=1, pixels=1_000_000, seconds=SECONDS
        )
        with service.in_thread(build_app(predictor, limits=bounds)) as port:
            yield port


def wanted(predictor, tmp_path, content, classes=None):
    path = tmp_path / "image"
    path.write_bytes(content)
    return [
        {"class": name, "probability": round(p, 6)}
        for name, p in predictor.predict(path, classes)[0]
    ]


def test_answers_are_the_predictors(port, predictor, tmp_path):
    files = [
        ("a.png", encoded_image(1)),
        ("b.jpg", encoded_image(2, "JPEG")),
        ("c.png", encoded_image(3)),
    ]
    status, answer = predict(port, files)
    assert status == 200
    assert [result["image"] for result in answer["results"]] == [
        "a.png",
        "b.jpg",
        "c.png",
    ]
    for (_, content), result in zip(files, answer["results"], strict=True):
        assert result["predictions"] == wanted(predictor, tmp_path, content)


def test_other_classes_and_fewer_of_them(port, predictor, tmp_path):
    fields = [("classes", "red, blue\ngreen"), ("classes", "gray"), ("top", "2")]
    status, answer = predict(port, [("a.png", encoded_image(1))], fields)
    names = ["red", "blue", "green", "gray"]
    assert status == 200
    assert (
        answer["results"][0]["predictions"]
        == wanted(predictor, tmp_path, encoded_image(1), names)[:2]
    )


def test_classes_health_and_page(port):
    assert request(port, "GET", "/classes") == (
        200,
        {"classes": CLASSES, "fixed": False},
    )
    assert request(port, "GET", "/health") == (
        200,
        {"status": "ok", "method": "CoOp", "backbone": "pocket"},
    )
    status, page = request(port, "GET", "/")
    assert (
        status == 200
        and "//" not in page.replace("<!doctype", "")
        and "predict" in page
    )


@pytest.mark.parametrize(
    ("files", "fields", "status", "message"),
    [
        ([], [], 400, "no file in the field 'images'"),
        (
            [],
            [("images", "http://127.0.0.1:1/a.png")],
            400,
            "no file in the field 'images'",
        ),
        ([("a.png", b"")], [], 415, "cannot decode a.png: empty"),
        ([("a.png", b"hello")], [], 415, "cannot decode a.png: not an image"),
        ([("a.png", encoded_image(0)[:80])], [], 415, "cannot decode a.png"),
        (
            [("a.png", bomb(2000, 2000))],
            [],
            413,
            "a.png declares 2000 x 2000 pixels; 1,000,000 is the most",
        ),
        ([("a.png", bomb(200_000, 200_000))], [], 413, "a.png declares"),
        (
            [("a.png", bomb(5000, 1))],
            [],
            415,
            "one side is more than 1,000 times the other",
        ),
        ([("a.png", encoded_image(0))] * 4, [], 413, "Too many files"),
        ([("a.png", b"x" * (1 << 20))], [], 413, "larger than 1 MB"),
        ([("a.png", b"x" * (5 << 20))], [], 413, "larger than 1 MB"),
        ([("a.png", encoded_image(0))], [("classes", "a")] * 9, 413, "Too many fields"),
        (
            [("a.png", encoded_image(0))],
            [("classes", "a,b,c,d,e,f")],
            413,
            "6 classes; 5 is the most",
        ),
        (
            [("a.png", encoded_image(0))],
            [("classes", "a" * 201)],
            413,
            "longer than 200 characters",
        ),
        (
            [("a.png", encoded_image(0))],
            [("classes", "a,b,A")],
            422,
            "'a' and 'A' are the same text",
        ),
        ([("a.png", encoded_image(0))], [("classes", "a " * 99)], 422, "tokens"),
        ([("a.png", encoded_image(0))], [("top", "0")], 422, "'top' is a number"),
        (
            [("a.png", encoded_image(0))],
            [("top", "9" * 5000)],
            422,
            "'top' is a number",
        ),
    ],
)
def test_wrong_requests(port, files, fields, status, message):
    got, answer = predict(port, files, fields)
    assert got == status and message in answer["detail"]
    assert request(port, "GET", "/health")[0] == 200


def test_one_unreadable_image_stops_no_other(port):
    status, answer = predict(
        port,
        [("a.png", encoded_image(1)), ("b.png", b"no"), ("c.png", bomb(9000, 9000))],
    )
    assert status == 200
    assert [sorted(result) for result in answer["results"]] == [
        ["image", "predictions"],
        *[["error", "image"]] * 2,
    ]


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "a@b.zip@c",
        "\x1b[2Jx",
        "x" * 3000,
        "<script>",
        "\udcff\udcfe",
        "a;b",
    ],
)
def test_hostile_names(port, name):
    status, answer = predict(port, [(name, encoded_image(1))])
    assert status == 200
    shown = answer["results"][0]["image"]
    assert shown.isprintable() and len(shown) < 300


def test_requests_that_are_no_forms(port):
    assert (
        request(port, "POST", "/predict", b"{}", {"Content-Type": "application/json"})[
            0
        ]
        == 400
    )
    assert (
        request(
            port, "POST", "/predict", b"junk", {"Content-Type": "multipart/form-data"}
        )[0]
        == 400
    )
    assert (
        request(
            port,
            "POST",
            "/predict",
            b"junk",
            {"Content-Type": "multipart/form-data; boundary=x"},
        )[0]
        == 400
    )
    assert request(port, "GET", "/predict")[0] == 405
    assert request(port, "GET", "/docs")[0] == 404


def test_a_large_body_without_a_length(port):
    head = b'--x\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'
    pieces = (head if number == 0 else b"y" * 65536 for number in range(40))
    status, answer = request(
        port,
        "POST",
        "/predict",
        pieces,
        {"Content-Type": "multipart/form-data; boundary=x"},
    )
    assert (status, answer) == (413, {"detail": "the request is larger than 1 MB"})


def test_pages_of_other_hosts_are_refused(port):
    assert request(port, "GET", "/health", headers={"Host": "example.org"})[0] == 400
    assert request(port, "GET", "/health", headers={"Host": "localhost:1"})[0] == 200
    assert request(port, "GET", "/health", headers={"Host": "[::1]:1"})[0] == 200


def test_slow_clients_are_cut_off_and_block_nobody(port):
    """Send headers and bodies that stop arriving; meanwhile the others are served."""
    silent = socket.create_connection(("127.0.0.1", port))
    header = socket.create_connection(("127.0.0.1", port))
    header.sendall(b"GET /health HT")
    body = socket.create_connection(("127.0.0.1", port))
    body.sendall(
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        b"Content-Length: 5000\r\n\r\n--x\r\n"
    )
    started = time.monotonic()
    assert request(port, "GET", "/health")[0] == 200
    assert time.monotonic() - started < SECONDS * 20
    for client in (silent, header, body):
        client.settimeout(60)
    assert silent.recv(100) == b"" and header.recv(100) == b""
    assert body.recv(4096).startswith(b"HTTP/1.1 408 ")
    for client in (silent, header, body):
        client.close()


def test_a_client_that_leaves_is_no_error_of_the_service(predictor):
    app = build_app(predictor)
    received = [
        {"type": "http.request", "body": b"--x\r\n", "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive():
        return received.pop(0)

    async def send(message):
        sent.append(message)

    headers = [
        (b"host", b"localhost"),
        (b"content-length", b"90000"),
        (b"content-type", b"multipart/form-data; boundary=x"),
    ]
    scope = {"type": "http", "method": "POST", "path": "/predict", "headers": headers}
    anyio.run(app, scope | {"query_string": b""}, receive, send)
    assert sent[0]["status"] == 400


def test_a_connection_is_kept_for_the_next_request(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.settimeout(60)
        for _ in range(2):
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            reply = client.recv(4096)
            while b"}" not in reply:
                reply += client.recv(4096)
            assert reply.startswith(b"HTTP/1.1 200 ")
        client.sendall(b"GET /hea")  # and no more
        assert client.recv(4096) == b""


def test_more_connections_than_are_served(port):
    """Fill the service until the time for headers is over."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    deadline = time.monotonic() + 60
    while request(port, "GET", "/health")[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert request(port, "GET", "/health")[0] == 200
    for client in clients:
        client.close()


def test_command_line(tmp_path, capsys, monkeypatch):
    folder = service.save_pocket_prompt(tmp_path)
    for argv, message in (
        ("--port 70000", "--port is 70000"),
        ("--max-images 0", "--max-images is 0"),
        ("--classes a,A", "same text"),
        ("--task other", "task 'other'"),
    ):
        assert command.main(shlex.split(f"serve {folder} {argv}")) == 2
        assert message in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert (
            command.main(shlex.split(f"serve {folder} --port {taken.getsockname()[1]}"))
            == 2
        )
        assert "in use" in capsys.readouterr().err
    monkeypatch.setattr(
        command, "find_spec", lambda name: None if name == "uvicorn" else name
    )
    assert command.main(shlex.split(f"serve {folder}")) == 2
    assert "this needs uvicorn: pip install 'mvlpt[serve]'" in capsys.readouterr().err


def test_plain_clip_is_served(tmp_path, monkeypatch):
    served = []
    monkeypatch.setattr(
        "prompting.serve.app.run", lambda app, *address: served.append(app)
    )
    words = "serve zeroshot --backbone pocket --classes circle,square --device cpu"
    assert command.main(words.split()) == 0
    expected = wanted(load_zero_shot("pocket"), tmp_path, encoded_image(1), CLASSES[:2])
    with service.in_thread(served[0]) as port:
        status, answer = predict(port, [("a.png", encoded_image(1))])
    assert status == 200 and answer["results"][0]["predictions"] == expected


def megabytes(pid: int, key: str) -> float:
    """Return a process's memory: VmRSS, resident now, or VmHWM, its peak."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        for line in file:
            if line.startswith(key):
                return int(line.split()[1]) / 1024
    raise ValueError(f"no {key}")


@pytest.mark.long
def test_a_thousand_requests_eight_at_a_time(tmp_path):
    """Expect that nothing is lost or mixed up, beside hostile clients; the memory does
    not grow.
    """
    folder = service.save_pocket_prompt(tmp_path / "prompt")
    predictor = load(folder)
    contents = [encoded_image(seed) for seed in range(20)]
    expected = [wanted(predictor, tmp_path, content) for content in contents]
    hostile = (
        (413, [("bomb.png", bomb(20_000, 20_000))]),
        (415, [("notes.png", b"no image")]),
        (413, [("a.png", contents[0])] * 17),
    )

    def ask(number: int) -> str:
        if number % 10 == 9:
            expected_status, files = hostile[number // 10 % len(hostile)]
            status, _ = predict(port, files)
            return "refused" if status == expected_status else f"status {status}"
        name = "../../etc/passwd" if number % 10 == 8 else "a.png"
        status, answer = predict(port, [(name, contents[number % 20])])
        if status != 200:
            return f"status {status}"
        right = answer["results"][0]["predictions"] == expected[number % 20]
        return "right" if right else json.dumps(answer)

    with service.in_process(folder) as (port, process):
        slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(40)]
        for client in slow[:20]:
            client.sendall(
                b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 90000\r\n"
                b"Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
            )
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            first = list(pool.map(ask, range(200)))
            before = megabytes(process.pid, "VmRSS")
            rest = list(pool.map(ask, range(200, 1000)))
        assert collections.Counter(first + rest) == {"right": 900, "refused": 100}
        assert megabytes(process.pid, "VmHWM") < before + 64
        assert request(port, "GET", "/health")[0] == 200
        for client in slow:
            client.close()
    # uvicorn raises the signal again after its shutdown
    assert process.returncode in (0, -signal.SIGTERM)
