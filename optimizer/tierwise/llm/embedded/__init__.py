"""Embedded tiers: tiny language models that the project trained, sampled in numpy.

``Engine.load("small").generate([chat.encode(messages, params)], [seed])``.
"""

from tierwise.llm.embedded.chat import Prompt, encode
from tierwise.llm.embedded.engine import Engine, Generation

__all__ = ["Engine", "Generation", "Prompt", "encode"]
