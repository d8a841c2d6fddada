"""Typed rows of what a run's samples and policies say; nothing is bought or shown here.

`tier_rows`, `signals` and `prompts` make the rows of `summary.json` from the result of a search;
`tiers`, `policies`, `prompts`, `search_rounds` and `changes` make those of `compare` and the report
from what a run wrote.
"""
