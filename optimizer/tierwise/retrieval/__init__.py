"""Retrievers: what answers a query with passages of a corpus."""

from tierwise.retrieval._base import Found, Lost, Retriever, look_up

__all__ = ["Found", "Lost", "Retriever", "look_up"]
