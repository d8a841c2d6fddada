"""Instruction and demonstration candidates, and the registry that admits or refuses them."""

from tierwise.proposals.author import Author, TaskAuthor, known_of, talking_to
from tierwise.proposals.candidate import Candidate, Demo, Known, Refused, Registry, normalised
from tierwise.proposals.catalogue import catalogue
from tierwise.proposals.demonstrations import bootstrapped
from tierwise.proposals.instructions import Brief, Failing, grounded, reflect
from tierwise.proposals.layout import instruction_of, with_instruction

__all__ = [
    "Author",
    "Brief",
    "Candidate",
    "Demo",
    "Failing",
    "Known",
    "Refused",
    "Registry",
    "TaskAuthor",
    "bootstrapped",
    "catalogue",
    "grounded",
    "instruction_of",
    "known_of",
    "normalised",
    "reflect",
    "talking_to",
    "with_instruction",
]
