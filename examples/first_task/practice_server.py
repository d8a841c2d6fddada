"""A practice server: OpenAI's chat interface in front of the smallest embedded model.

    python examples/first_task/practice_server.py [--port 8765]

It answers sums up to 30, as a small model does: often wrong at once, more often right where the
mode lets it work (``reasoning_effort``) and the prompt asks for steps. Whatever else a prompt says
it does not read. It takes ``n`` and ``seed``, and counts tokens as the embedded model does.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tierwise.errors import InputError
from tierwise.llm.embedded import Engine, encode
from tierwise.schema import Message

SUM = re.compile(r"\d+(?:\s*[-+]\s*\d+)+")


def answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion for the sum in the last message."""
    said = " ".join(str(message["content"]) for message in body["messages"])
    asked = SUM.findall(str(body["messages"][-1]["content"]))
    if not asked:
        raise ValueError("this practice server answers sums, such as 12 + 7 - 4")
    paraphrase = "Solve one step at a time." if "step" in said else "Solve this."
    params = {k: body[k] for k in ("temperature", "max_tokens", "reasoning_effort") if k in body}
    prompt = encode([Message("system", paraphrase), Message("user", asked[-1])], params)
    n, seed = int(body.get("n", 1)), int(body.get("seed", secrets.randbits(31)))
    sampled = Engine.load("small").generate([prompt] * n, range(seed, seed + n))
    return {
        "id": "practice",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {
                "index": i,
                "finish_reason": sample.finish_reason,
                "message": {
                    "role": "assistant",
                    "content": sample.text.replace("answer :", "Answer:"),
                },
            }
            for i, sample in enumerate(sampled)
        ],
        "usage": {
            "prompt_tokens": sampled[0].prompt_tokens,
            "completion_tokens": sum(sample.completion_tokens for sample in sampled),
            "total_tokens": sampled[0].prompt_tokens + sum(d.completion_tokens for d in sampled),
        },
    }


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer, or say what is wrong as OpenAI would."""
        try:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, said = 200, answer(body)
        except (ValueError, KeyError, TypeError, InputError) as error:
            status, said = 400, {"error": {"message": str(error), "type": "bad_request"}}
        content = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8765)
    asked = parser.parse_args()
    Engine.load("small")
    ThreadingHTTPServer(("127.0.0.1", asked.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
