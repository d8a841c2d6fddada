"""A retriever on loopback, with faults on demand."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tierwise.retrieval import Retriever


class Served:
    """``behaviour``: answer, slow, error, busy (429), nonsense, empty or huge."""

    def __init__(self, behind: Retriever) -> None:
        self.behind, self.behaviour, self.asked = behind, "answer", []
        self.tokens: list[str | None] = []
        self.address = ""


@contextmanager
def serving(behind: Retriever) -> Iterator[Served]:
    served = Served(behind)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            served.asked.append((body["query"], body["k"]))
            served.tokens.append(self.headers["Authorization"])
            if served.behaviour == "slow":
                time.sleep(0.6)
            status = {"error": 500, "busy": 429, "refuse": 403}.get(served.behaviour, 200)
            found = served.behind.find(body["query"], body["k"]).passages
            passages = [p._asdict() for p in found]
            if served.behaviour == "empty":
                passages = []
            text = json.dumps({"passages": passages})
            if served.behaviour == "nonsense":
                text = '{"passages": [{"title": 3}]}'
            if served.behaviour == "huge":
                text = json.dumps({"passages": [], "more": "x" * 5_000_000})
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.address = f"http://127.0.0.1:{server.server_port}/find"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
