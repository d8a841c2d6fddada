"""Language models behind one seam: embedded, recorded, and any that LiteLLM reaches."""

from tierwise.llm.base import (
    UNFINISHED,
    Call,
    Completion,
    Failure,
    LanguageModel,
    Parent,
    Remarking,
    Request,
    Result,
    base_seed,
    build_request,
    cap_of,
    judge_request,
)
