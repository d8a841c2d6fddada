"""Train one embedded tier: ``PYTHONPATH=optimizer python tools/embedded/train.py small --seed 0``.

Everything follows from (size, seed, steps): documents, their order and the first weights. The last
line says the CPU-seconds that it took. See the README beside this file.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from documents import Document, stream
from model import ATTENTION_SCALE, MATRICES, ROPE_BASE, SIZES, Decoder
from muon import Muon
from torch import Tensor
from torch.nn import functional

from tierwise.llm.embedded.vocabulary import ID, WORDS

STEPS = {"small": 8000, "medium": 6000, "large": 7000}
BATCH_TOKENS = 2048
POOL = 6144
"""Documents that are sorted by length together, so that a batch has little padding."""
RATE, EMBEDDING_RATE = 0.02, 0.01
WARM_UP_STEPS = 30
FLAT = 0.3
"""Share of the steps before the rates fall on a line to 0."""


def batches(size: str, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """(tokens, own) of about ``BATCH_TOKENS`` each, both (batch, time)."""
    documents, rng = stream(size, seed), random.Random(seed)
    while True:
        pool = sorted(itertools.islice(documents, POOL), key=lambda d: len(d.words))
        groups: list[list[Document]] = [[]]
        for document in pool:
            if groups[-1] and (len(groups[-1]) + 1) * len(document.words) > BATCH_TOKENS:
                groups.append([])
            groups[-1].append(document)
        rng.shuffle(groups)
        yield from map(_tensors, groups)


def _tensors(group: list[Document]) -> tuple[Tensor, Tensor]:
    longest = max(len(d.words) for d in group)
    tokens = np.zeros((len(group), longest), np.int64)
    own = np.zeros((len(group), longest), np.bool_)
    for row, document in enumerate(group):
        tokens[row, : len(document.words)] = [ID[w] for w in document.words]
        own[row, : len(document.own)] = document.own
    return torch.from_numpy(tokens), torch.from_numpy(own)


def rate_at(step: int, steps: int) -> float:
    """Flat, then a line to 0; a short warm-up."""
    line = min(1.0, (1 - step / steps) / (1 - FLAT))
    return min(1.0, (step + 1) / WARM_UP_STEPS) * line


def train(model: Decoder, size: str, seed: int, steps: int) -> None:
    muon = Muon(model.matrices)
    adam = torch.optim.Adam([model.emb, model.head], betas=(0.9, 0.95))
    smooth = None
    for step, (tokens, own) in enumerate(itertools.islice(batches(size, seed), steps)):
        rate = rate_at(step, steps)
        mine = own[:, 1:]
        logits = model(tokens[:, :-1])[mine] @ model.head.T
        loss = functional.cross_entropy(logits, tokens[:, 1:][mine])
        model.zero_grad()
        loss.backward()
        muon.step(RATE * rate)
        adam.param_groups[0]["lr"] = EMBEDDING_RATE * rate
        adam.step()
        smooth = loss.item() if smooth is None else 0.98 * smooth + 0.02 * loss.item()
        if (step + 1) % 300 == 0:
            cpu_s = time.process_time()
            print(
                f"{size} seed {seed} step {step + 1} loss {smooth:.4f} cpu_s {cpu_s:.0f}",
                flush=True,
            )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())  # as they are stored


def save(model: Decoder, path: Path, size: str, seed: int, steps: int) -> None:
    """fp16 arrays, and the configuration as JSON text among them."""
    config = {
        "name": size,
        "width": model.size.width,
        "layers": model.size.layers,
        "heads": model.size.heads,
        "rope_base": ROPE_BASE,
        "attention_scale": ATTENTION_SCALE,
        "words": list(WORDS),
        "seed": seed,
        "steps": steps,
    }
    arrays = {"emb": model.emb, "head": model.head}
    for i, block in enumerate(model.blocks):
        arrays |= {f"{i}.{name}": getattr(block, name) for name in MATRICES}
    path.parent.mkdir(parents=True, exist_ok=True)
    half = {k: a.detach().numpy().astype(np.float16) for k, a in arrays.items()}
    np.savez_compressed(path, config=np.array(json.dumps(config)), **half)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("size", choices=list(SIZES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="default: as shipped")
    parser.add_argument("--out", type=Path, help="default: SIZE-SEED.npz here")
    options = parser.parse_args()
    steps = options.steps or STEPS[options.size]
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    model = Decoder(SIZES[options.size])
    train(model, options.size, options.seed, steps)
    out = options.out or Path(f"{options.size}-{options.seed}.npz")
    save(model, out, options.size, options.seed, steps)
    count = sum(p.numel() for p in model.parameters())
    print(f"{out}: {count:,} parameters, {time.process_time():.0f} CPU-seconds")


if __name__ == "__main__":
    main()
