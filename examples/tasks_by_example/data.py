"""Made-up data for docs/tasks_by_example.md: rows of ten kinds of task, a few lines each."""

from __future__ import annotations

import random
from typing import Any

Rows = list[dict[str, Any]]
_rng = random.Random(7)


def reviews(n: int = 90) -> Rows:
    """Reviews of goods, positive or negative."""
    good, bad = (
        ["lovely", "great", "superb", "sturdy", "quick", "friendly"],
        ["dull", "slow", "broken", "rude", "late", "flimsy"],
    )
    rows = []
    for i in range(n):
        positive = i % 2 == 0
        words = _rng.sample(good, 2 if positive else 1) + _rng.sample(bad, 1 if positive else 2)
        _rng.shuffle(words)
        text = f"Order {i}: a {words[0]} box, {words[1]} service and {words[2]} support."
        rows.append({"review": text, "label": "positive" if positive else "negative"})
    return rows


def tickets(n: int = 90) -> Rows:
    """Messages of customers, and the desk that they are for."""
    said = {
        "billing": ["I was charged twice", "the invoice is wrong", "where is my refund"],
        "shipping": ["my parcel is lost", "the courier never came", "the delivery is late"],
        "technical": ["the app does crash", "my login fails", "the update stops"],
    }
    desks = sorted(said)
    return [
        {"message": f"Case {i}: {_rng.choice(said[desk])}.", "desk": desk}
        for i, desk in ((i, desks[i % 3]) for i in range(n))
    ]


def invoices(n: int = 90) -> Rows:
    """Letters, and the invoice that each is about, as JSON."""
    import json

    rows = []
    for i in range(n):
        number, vendor, total = 1000 + i, _rng.choice(["Acme", "Globex", "Initech"]), i * 3.5 + 10
        text = f"Please find invoice {number} from {vendor} over {total:.2f} EUR attached."
        wanted = {"number": number, "vendor": vendor, "total": total}
        rows.append({"letter": text, "invoice": json.dumps(wanted)})
    return rows


def articles(n: int = 90) -> Rows:
    """Short reports, and what is worth telling of each."""
    rows = []
    for i in range(n):
        place, gain = _rng.choice(["Graz", "Turin", "Lyon", "Porto"]), 3 + i
        result = f"The result of trial {i}: yields rose by {gain} percent."
        rest = [f"The team of {place} met in spring.", f"They spoke of plan {i} at length."]
        text = " ".join(_rng.sample([result, *rest], 3))
        rows.append({"article": text, "summary": result})
    return rows


def graded_summaries(n: int = 40) -> Rows:
    """Summaries of other reports that a person scored from 1 to 5."""
    rows = []
    for i in range(n):
        article = f"The team met. The result of test {i}: it holds. They spoke at length."
        good = i % 2 == 0
        said = f"The result of test {i}: it holds." if good else "They spoke at length."
        inputs = {"article": article}
        rows.append(
            {"inputs": inputs, "answer": said, "score": _rng.choice([4, 5] if good else [1, 2])}
        )
    return rows


def letters(n: int = 120) -> Rows:
    """Letters from a city, and the country that each is from."""
    cities = {"Paris": "France", "Rome": "Italy", "Oslo": "Norway", "Lima": "Peru"}
    rows = []
    for i in range(n):
        city = sorted(cities)[i % 4]
        rows.append({"letter": f"Letter {i}: greetings from {city}!", "country": cities[city]})
    return rows


def tanks(n: int = 90) -> Rows:
    """Measures of tanks, and their volumes."""
    rows = []
    for _ in range(n):
        a, b, c = (round(_rng.uniform(1, 9), 2) for _ in range(3))
        text = f"A tank is {a} m long, {b} m wide and {c} m high."
        rows.append({"question": text, "volume": f"{a * b * c:.6f}"})
    return rows


def walks(n: int = 90) -> Rows:
    """Two legs of a walk, and its length."""
    rows = []
    for i in range(n):
        km, m = 1 + i % 9, 50 + 10 * i
        rows.append({"question": f"First {km} km, then {m} m.", "length": f"{km * 1000 + m} m"})
    return rows


def articles_by_topic(n: int = 90) -> Rows:
    """Headlines, and the set of their topics."""
    words = {"sports": "match", "finance": "bank", "politics": "parliament", "science": "telescope"}
    rows = []
    for i in range(n):
        chosen = _rng.sample(sorted(words), 1 + i % 3)
        text = f"Headline {i}: " + " meets ".join(words[topic] for topic in chosen)
        rows.append({"headline": text, "topics": ", ".join(sorted(chosen))})
    return rows


def exercises(n: int = 80) -> Rows:
    """What a function of a list is to return, and tests of it."""
    import json

    rules = {"largest": max, "smallest": min, "sum": sum, "number": len}
    rows = []
    for i in range(n):
        name = sorted(rules)[i % 4]
        lists = [[_rng.randint(1, 99) for _ in range(4)] for _ in range(3)]
        asked = f"Exercise {i}: return the {name} of the items of xs."
        tests = "\n".join(f"assert f({xs}) == {rules[name](xs)}" for xs in lists)
        rows.append({"exercise": asked, "tests": tests, "cases": json.dumps(lists)})
    return rows


def conversations(n: int = 90) -> Rows:
    """Chats with a customer, and whether the next answer is to grant a refund."""
    rows = []
    for i in range(n):
        days = 5 + (i * 7) % 60
        rule = "You decide about refunds, within 30 days. End with Refund: yes or Refund: no."
        chat = [
            {"role": "system", "content": rule},
            {"role": "user", "content": f"Hello, order {i} does not fit."},
            {"role": "assistant", "content": "I am sorry. When did you buy it?"},
            {"role": "user", "content": f"I bought it {days} days ago. Do I get my money back?"},
        ]
        rows.append({"chat": chat, "granted": "yes" if days <= 30 else "no"})
    return rows
