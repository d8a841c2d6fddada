"""Retrievers: what answers a query with passages of a corpus."""

from tierwise.retrieval.base import Lost, News, Retrieved, Retriever, look_up, news
from tierwise.retrieval.binding import (
    bind,
    identity_among,
    open_for_task,
    open_retriever,
    target_of,
    usual_bytes,
)
