"""The stages of a tier's search, a file each, in the order of ``search/tier.py``."""
