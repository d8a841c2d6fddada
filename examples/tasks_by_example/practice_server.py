"""A practice server for docs/tasks_by_example.md: OpenAI's chat interface, and small rules behind
it.

    python examples/tasks_by_example/practice_server.py [--port 8766]

It knows the ten kinds of request of that page by a word of theirs, answers right more often where a
prompt says to check or to go step by step, and else as a small model errs: a label beside the right
one, a field left out, a number off. Asked to grade, it reads the answer as a judge would. Answers
depend on the messages and the seed alone. No model is behind it: it shows how a task is set up, and
nothing about models.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = ("lovely", "great", "superb", "sturdy", "quick", "friendly")
DESKS = {"billing": ("charged", "invoice", "refund"), "shipping": ("parcel", "courier", "delivery"),
         "technical": ("crash", "login", "update")}  # fmt: skip
TOPICS = {"sports": "match", "finance": "bank", "politics": "parliament", "science": "telescope"}
UNITS = {"km": 1000.0, "m": 1.0, "cm": 0.01}


def sentiment(asked: str, right: bool, rng: random.Random) -> str:
    """Positive where most words of praise are good ones."""
    words = re.findall(r"[a-z]+", asked.lower())
    good = sum(word in GOOD for word in words) >= 2
    return "positive" if good == right else "negative"


def routing(asked: str, right: bool, rng: random.Random) -> str:
    """The desk whose word is in it."""
    desk = next((d for d, words in DESKS.items() if any(w in asked for w in words)), "billing")
    return desk if right else rng.choice(sorted(DESKS))


def extraction(asked: str, right: bool, rng: random.Random) -> str:
    """An invoice as JSON; each field is wrong by itself."""
    found = re.search(r"[Ii]nvoice (\d+) from (\w+) over ([\d.]+) EUR", asked)
    if found is None:
        return "{}"
    fields = {"number": int(found[1]), "vendor": found[2], "total": float(found[3])}
    for name, wrong in (("number", 999), ("vendor", "Unknown"), ("total", 1.0)):
        if rng.random() < (0.06 if right else 0.45):
            fields[name] = wrong
    return f"Here it is:\n{json.dumps(fields)}"


def summary(asked: str, right: bool, rng: random.Random) -> str:
    """The sentence with the result, or one beside it, or both."""
    sentences = re.split(r"(?<=\.)\s+", asked.rpartition("\n")[2].strip())
    result = next((s for s in sentences if "result" in s.lower()), sentences[0])
    return result if right else rng.choice(sentences)


def volume(asked: str, right: bool, rng: random.Random) -> str:
    """The product of the three measures, rounded."""
    a, b, c = (float(n) for n in re.findall(r"\d+(?:\.\d+)?", asked)[-3:])
    return f"Answer: {a * b * c * (1 if right else rng.choice([0.5, 1.1, 2])):.4g} m3"


def distance(asked: str, right: bool, rng: random.Random) -> str:
    """Two legs added up, in whatever unit."""
    legs = re.findall(r"(\d+(?:\.\d+)?) (km|m)\b", asked)[-2:]
    metres = sum(float(n) * UNITS[unit] for n, unit in legs) * (1 if right else rng.choice([2, 10]))
    unit = rng.choice(sorted(UNITS))
    return f"Answer: {metres / UNITS[unit]:.6g} {unit}"


def topics(asked: str, right: bool, rng: random.Random) -> str:
    """All topics whose word is in it, in any order."""
    found = [topic for topic, word in TOPICS.items() if word in asked]
    if not right and rng.random() < 0.8:
        found = found[1:] or [rng.choice(sorted(TOPICS))]
    rng.shuffle(found)
    return ", ".join(found)


def code(asked: str, right: bool, rng: random.Random) -> str:
    """A function for the rule that is asked for."""
    rules = {"largest": "max(xs)", "smallest": "min(xs)", "sum": "sum(xs)", "number": "len(xs)"}
    rule = next((r for word, r in rules.items() if word in asked), "xs")
    return f"```python\ndef f(xs):\n    return {rule if right else 'xs[0]'}\n```"


def support(asked: str, right: bool, rng: random.Random) -> str:
    """Yes or no by the days that were named in the conversation."""
    days = [int(n) for n in re.findall(r"(\d+) days", asked)]
    within = bool(days) and days[-1] <= 30
    return "Refund: " + ("yes" if within == right else "no")


def place(asked: str, right: bool, rng: random.Random) -> str:
    """The city that a letter is from; of a city alone, its country."""
    cities = {"Paris": "France", "Rome": "Italy", "Oslo": "Norway", "Lima": "Peru"}
    city = next((city for city in cities if city in asked), "")
    known = sorted(cities) if "greetings" in asked else sorted(cities.values())
    meant = city if "greetings" in asked else cities.get(city, "unknown")
    return meant if right else rng.choice(known)


Skill = Callable[[str, bool, random.Random], str]
SKILLS: dict[str, Skill] = {
    "sentiment": sentiment,
    "desk": routing,
    "invoice as json": extraction,
    "summary": summary,
    "cubic metres": volume,
    "how far": distance,
    "topics": topics,
    "function f": code,
    "refund": support,
}
"""A word of a request, in lower case -> what answers it."""


def grade(said: str) -> str:
    """A judge's reply: 5 for the result alone, less for other sentences, 1 without it."""
    answer = re.search(r"<answer>\n(.*?)\n</answer>", said, re.DOTALL)
    text = answer[1] if answer else ""
    if "result" not in text.lower():
        return "Score: 1"
    return "Score: 5"


def reply(messages: Sequence[Mapping[str, Any]], seed: int) -> str:
    """What the model says to ``messages`` as the sample of ``seed``."""
    said = "\n".join(str(m["content"]) for m in messages)
    if "You grade the answer" in said:
        return grade(said)
    digest = hashlib.sha256(json.dumps([said, seed]).encode()).digest()
    rng = random.Random(digest)
    careful = re.search(r"step by step|check", said, re.IGNORECASE)
    right = rng.random() < (0.9 if careful else 0.6)
    field = re.search(r"starting with the field `\[\[ ## (\w+) ## \]\]`", said)
    if field is not None:  # DSPy's layout
        text = place(str(messages[-1]["content"]), right, rng)
        return f"[[ ## {field[1]} ## ]]\n{text}\n\n[[ ## completed ## ]]"
    skill = next((skill for word, skill in SKILLS.items() if word in said.lower()), place)
    asked = said if skill is support else str(messages[-1]["content"])
    return skill(asked, right, rng)


def answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat completion; its tokens are words."""
    n, seed = int(body.get("n") or 1), int(body.get("seed") or secrets.randbits(31))
    texts = [reply(body["messages"], seed + i) for i in range(n)]
    prompt = sum(len(str(m["content"]).split()) for m in body["messages"])
    completion = sum(len(text.split()) for text in texts)
    return {
        "id": "practice",
        "object": "chat.completion",
        "created": 0,
        "model": body["model"],
        "choices": [
            {"index": i, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for i, text in enumerate(texts)
        ],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
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
        except (ValueError, KeyError, TypeError) as error:
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
    parser.add_argument("--port", type=int, default=8766)
    asked = parser.parse_args()
    ThreadingHTTPServer(("127.0.0.1", asked.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
