"""Retrievers: what answers a query with passages of a corpus."""

from tierwise.retrieval._base import Found, Lost, News, Retriever, look_up, news
from tierwise.retrieval.binding import bind, open_retriever, target_of

__all__ = [
    "Found",
    "Lost",
    "News",
    "Retriever",
    "bind",
    "look_up",
    "news",
    "open_retriever",
    "target_of",
]
