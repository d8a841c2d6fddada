"""Multi-hop look-ups with facts that only a search brings: ``boss of friend of ann ?``.

The model writes ``search : friend of ann ;``; whoever drives it appends ``-> bob ;`` (or
``-> none ;`` where the store has no reply, one in five here) and lets it go on. The replies carry
no loss. A search loop may be ended by ``stop answer :``, after which the model can but guess.
"""

from __future__ import annotations

import random

from tierwise.llm.embedded.vocabulary import NAMES, RELATIONS

MISSES = 0.2


def document(rng: random.Random, wording: list[str]) -> tuple[list[str], list[int]]:
    """Words, and 1 where the word is the model's own."""
    hops = rng.choices([1, 2, 3, 4], [0.3, 0.3, 0.25, 0.15])[0]
    relations = [rng.choice(RELATIONS) for _ in range(hops)]
    chain = [rng.choice(NAMES)]
    for _ in range(hops):
        chain.append(rng.choice([n for n in NAMES if n != chain[-1]]))
    question = [w for r in reversed(relations) for w in (r, "of")] + [chain[0], "?"]
    words = [*wording, *question, "work", ":"]
    own = [0] * len(words)

    def write(more: list[str], mine: int) -> None:
        words.extend(more)
        own.extend([mine] * len(more))

    most = rng.randint(1, 6) if rng.random() < 0.3 else 99
    found = searches = 0
    while found < hops and searches < most:
        write(["search", ":", relations[found], "of", chain[found], ";"], 1)
        searches += 1
        if rng.random() < MISSES:
            write(["->", "none", ";"], 0)
        else:
            found += 1
            write(["->", chain[found], ";"], 0)
    if found < hops:
        write(["stop", "answer", ":"], 0)
    else:
        write(["answer", ":"], 1)
    write([chain[-1]], 1)
    return words, own
