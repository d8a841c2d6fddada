"""Instruction and demonstration candidates, and the registry that admits or refuses them."""

from tierwise.proposals.candidate import Candidate, Demo, Known, Refused, Registry, normalised
from tierwise.proposals.catalogue import catalogue
from tierwise.proposals.demonstrations import bootstrapped
from tierwise.proposals.instructions import Failing, grounded, reflect

__all__ = [
    "Candidate", "Demo", "Failing", "Known", "Refused", "Registry", "bootstrapped", "catalogue",
    "grounded", "normalised", "reflect",
]  # fmt: skip
