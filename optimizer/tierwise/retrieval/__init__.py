"""Retrievers: what answers a query with passages of a corpus."""

from tierwise.retrieval.base import Lost, News, Retrieved, Retriever, look_up, news
from tierwise.retrieval.binding import bind, open_retriever, target_of

__all__ = [
    "Lost",
    "News",
    "Retrieved",
    "Retriever",
    "bind",
    "look_up",
    "news",
    "open_retriever",
    "target_of",
]
