"""A service on loopback for tests, and multipart requests to it with the standard
library.
"""

import contextlib
import http.client
import io
import json
import os
import shlex
import socket
import subprocess
import sys
import threading
import time
import uuid
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from prompting import TextPrompt, clip_shape, load_pocket, save_prompts

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["circle", "square", "star"]


def save_pocket_prompt(folder: Path) -> Path:
    """Write a random text prompt for the pocket CLIP with three classes; return its
    folder.
    """
    torch.manual_seed(0)
    backbone = load_pocket()
    prompt = TextPrompt(4, clip_shape(backbone.clip).text_width)
    record = backbone.preprocessing.record("squash")
    metadata = {
        "method": "CoOp",
        "backbone": "pocket",
        "preprocessing": record,
        "tasks": ["shapes"],
    }
    save_prompts(
        folder / "prompts.safetensors",
        prompt,
        metadata | {"classes": {"shapes": CLASSES}},
    )
    return folder


def encoded_image(seed: int, kind: str = "PNG") -> bytes:
    """Return a small image of coloured blocks."""
    blocks = np.random.default_rng(seed).integers(0, 255, (4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((50, 40), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Return a PNG of some kilobytes at most that declares this many pixels."""
    content = bytearray(encoded_image(0))
    content[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    content[29:33] = zlib.crc32(bytes(content[12:29])).to_bytes(4, "big")
    return bytes(content)


def multipart(files=(), fields=()) -> tuple[bytes, dict[str, str]]:
    """Return a form's body and headers; files: (name, content), fields: (key, text)."""
    boundary = uuid.uuid4().hex
    parts = []
    for key, text in fields:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n'
        parts.append(head.encode() + text.encode() + b"\r\n")
    for name, content in files:
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="images"; filename="{name}"\r\n\r\n'
        parts.append(head.encode("utf-8", "surrogateescape") + content + b"\r\n")
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def request(
    port: int, method: str, path: str, body=None, headers=None
) -> tuple[int, object]:
    """Return status and JSON (or text) of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        chunked = body is not None and not isinstance(body, bytes)
        connection.request(method, path, body, headers or {}, encode_chunked=chunked)
        reply = connection.getresponse()
        text = reply.read().decode()
    finally:
        connection.close()
    try:
        return reply.status, json.loads(text)
    except ValueError:
        return reply.status, text


def predict(port: int, files=(), fields=()) -> tuple[int, object]:
    return request(port, "POST", "/predict", *multipart(files, fields))


@contextlib.contextmanager
def in_thread(app):
    """Serve an application in a thread of this process; yields the port."""
    from prompting.serve.app import make_server

    listening = socket.create_server(("127.0.0.1", 0))
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)
        listening.close()


@contextlib.contextmanager
def in_process(folder: Path, options: str = ""):
    """Serve with the command line; yields (port, process)."""
    command = f"{sys.executable} -m prompting serve {folder} --port 0 {options}"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        shlex.split(command),
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stderr.readline()
        while line and "serving at" not in line:
            line = process.stderr.readline()
        yield int(line.rsplit(":", 1)[1]), process
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()
