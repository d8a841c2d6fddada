"""Tune a prompt and the way it is run, together, for each model tier."""
