"""Which process owns something, and whether that process is surely gone.

A number of a process says little: it is used again, another machine or container has one of its
own. So an owner is named by its number, when it began, and where numbers of processes mean the
same: the host, its boot and its namespace of processes (the last two where ``/proc`` says so).
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import NamedTuple


class Owner(NamedTuple):
    """A process, as it is written into files: ``str`` and ``read`` are each other's inverse."""

    pid: int
    began: str
    place: str

    @classmethod
    def this_process(cls) -> Owner:
        """The caller."""
        return cls(os.getpid(), _began(os.getpid()), _place())

    @classmethod
    def read(cls, text: str) -> Owner | None:
        """The owner that ``text`` names; None where it names none."""
        pid, _, rest = text.strip().partition(" ")
        began, _, place = rest.partition(" ")
        return cls(int(pid), began, place) if pid.isdecimal() and place else None

    def __str__(self) -> str:
        return f"{self.pid} {self.began} {self.place}"

    @property
    def host(self) -> str:
        """The name of its machine."""
        return self.place.partition("/")[0]

    @property
    def surely_gone(self) -> bool:
        """Whether it has ended; False where this process cannot know."""
        if self.place != _place():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return _began(self.pid) != self.began  # the number is another process's by now


def _began(pid: int) -> str:
    """When a process began, in ticks since the boot; ``-`` where nobody says."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "-"
    return stat.rpartition(")")[2].split()[19]


def _place() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        boot = namespace = ""
    return f"{socket.gethostname()}/{boot}/{namespace}"
