"""A policy file answers live requests, exactly as it was tuned: library, gateway, LiteLLM proxy."""

from tierwise.serving.answer import Answer, TracedSample
from tierwise.serving.runtime import PolicyRuntime

__all__ = ["Answer", "PolicyRuntime", "TracedSample"]
