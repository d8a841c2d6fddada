"""A scripted OpenAI-compatible server on the loopback interface, with its own counts.

::

    with Loopback(fault=lambda call: Fault("status", 500) if call == 0 else None) as server:
        ...                                     # POST {server.url}/chat/completions
    assert server.calls == 2

Choice j of a call with seed s says ``speak(messages, s + j, body)``, whether the choices are asked
for in one call or one by one. What it bills it counts, also where the answer never arrives whole.
"""

from tests.loopback.server import Fault, Loopback, Raw, Said, hashed, words

__all__ = ["Fault", "Loopback", "Raw", "Said", "hashed", "words"]
