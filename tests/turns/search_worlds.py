"""A model that asks, answers or babbles by chance, and a retriever in memory."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from tests.turns import worlds
from tierwise.errors import ProviderError
from tierwise.llm import Completion, Request, Result
from tierwise.llm.scripted import ScriptedModel, hash_uniform
from tierwise.pool import Buyer, Library, SamplePool
from tierwise.retrieval import Retrieved
from tierwise.schema import Passage, Policy, RetrieverSpec, TurnTemplate
from tierwise.schema.policy_file import PolicyFile

TURNS = {
    "query": TurnTemplate("SEARCH?", {"max_tokens": 9}),
    "passages": TurnTemplate("Found for {{ query }}: {{ passages }}"),
    "answer": TurnTemplate("NOW! {{ question }} {{ notes }}"),
}
SPEC = RetrieverSpec("facts", usd_per_call=1e-5, max_chars=30)
PROMPTS = {name: replace(prompt, turns=TURNS) for name, prompt in worlds.PROMPTS.items()}


def script(request: Request, seed: int) -> Result:
    question = request.messages[1].content
    number = int(question.split(" + ")[0])
    u = hash_uniform(request, seed)
    if request.messages[-1].content.endswith("SEARCH? !"):
        text = f"search: fact {int(u * 40) % 7}" if u < 0.7 else "hm" if u > 0.93 else None
        text = text or f"A: {2 * number + (u > 0.85)}"
    else:
        text = f"A: {2 * number + (u > 0.6)}" if u < 0.9 else "well"
    tokens = sum(len(m.content.split()) for m in request.messages)
    return Completion(text, tokens, len(text.split()), latency_s=round(u, 3), mean_logprob=-u)


class Facts:
    """Passages by a hash of the query; every fifth query brings nothing.

    ``broken`` queries cannot be looked up. ``asked`` counts.
    """

    identity = "facts/here"

    def __init__(self, broken: str = "") -> None:
        self.broken, self.asked = broken, 0
        self.queries: list[str] = []

    def find(self, query: str, k: int) -> Retrieved:
        self.asked += 1
        self.queries.append(query)
        if self.broken and self.broken in query:
            raise ProviderError("the retriever is down")
        first = hashlib.sha256(query.encode()).digest()[0]
        if first % 5 == 0:
            return Retrieved((), 0.1)
        return Retrieved(tuple(fact((first + j) % 6) for j in range(k)), 0.25)

    def close(self) -> None:
        pass


def fact(n: int) -> Passage:
    return Passage(f"f{n}", f"fact {n} " + "is long " * n)


def library(facts: Facts | None = None) -> Library:
    return Library(SPEC, Facts.identity, facts or Facts())


def buyer(pool: SamplePool, of: ScriptedModel | None, lib: Library, **more: object) -> Buyer:
    found = worlds.buyer(pool, of, library=lib, **more)
    found.prompts = dict(PROMPTS)
    return found


def policy_file(policy: Policy, **more: object) -> PolicyFile:
    return replace(worlds.policy_file(policy, retriever=SPEC, **more), prompts=PROMPTS)
