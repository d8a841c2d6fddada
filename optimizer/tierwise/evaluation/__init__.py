"""Policies judged on stored draws: numpy only, no I/O, no money."""
