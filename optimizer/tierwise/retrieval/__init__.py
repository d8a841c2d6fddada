"""Retrievers: what answers a query with passages of a corpus."""

from tierwise.retrieval._base import Found, Lost, Retriever, look_up
from tierwise.retrieval.binding import bind, open_retriever, target_of

__all__ = ["Found", "Lost", "Retriever", "bind", "look_up", "open_retriever", "target_of"]
