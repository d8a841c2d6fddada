"""Do the torch decoder and the package's numpy decoder agree on shipped weights?

``PYTHONPATH=optimizer python tools/embedded/compare.py small`` prints the largest difference of
logits over whole prompts and token by token; it should be about 1e-5.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import torch
from documents import stream
from model import MATRICES, Decoder, Size

from tierwise.llm.embedded import decoder
from tierwise.llm.embedded.decoder import Checkpoint, read_checkpoint
from tierwise.llm.embedded.vocabulary import ID

PROMPT = 3
"""Tokens that are read at once before the rest goes token by token."""


def twin(checkpoint: Checkpoint) -> Decoder:
    """The torch decoder with the weights of ``checkpoint``."""
    config = checkpoint.config
    model = Decoder(Size(config["width"], config["layers"], config["heads"]))
    arrays = {"emb": model.emb, "head": model.head}
    for i, block in enumerate(model.blocks):
        arrays |= {f"{i}.{m}": getattr(block, m) for m in MATRICES}
    with torch.no_grad():
        for name, parameter in arrays.items():
            parameter.copy_(torch.from_numpy(checkpoint.arrays[name]))
    return model


def main() -> None:
    for name in sys.argv[1:]:
        checkpoint = read_checkpoint(name)
        model, ours = twin(checkpoint), decoder.Decoder(checkpoint)
        documents = list(itertools.islice(stream(name, 5), 8))
        length = min(len(d.words) for d in documents)
        tokens = np.array([[ID[w] for w in d.words[:length]] for d in documents])
        with torch.no_grad():
            expected = (model(torch.from_numpy(tokens)) @ model.head.T).numpy()
        whole = ours.logits(ours.read(tokens)[0])
        _, cache = ours.read(tokens[:, :PROMPT])
        steps = [
            abs(ours.step(tokens[:, t], cache) - expected[:, t]).max()
            for t in range(PROMPT, length)
        ]
        print(f"{name}: whole {abs(whole - expected).max():.1e}, by token {max(steps):.1e}")


if __name__ == "__main__":
    main()
