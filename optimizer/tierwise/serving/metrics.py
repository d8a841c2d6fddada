"""What the gateway counts, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily

from tierwise.schema.policy_file import PolicyFile
from tierwise.serving.answer import Answer, bucket_names

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class Metrics:
    """Counters of one gateway, in a registry of their own.

    A sample is counted once, under what became of it (``ok``, or the class of its failure), and a
    call once, however often it was tried. ``attempts`` gives, by policy, what was sent to
    providers, retries among it: what a provider counts on its side.
    """

    def __init__(self, attempts: Callable[[], Mapping[str, int]] = dict) -> None:
        self._registry = registry = CollectorRegistry()
        registry.register(_Attempts(attempts))

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"tierwise_{name}", what, labels, registry=registry)

        self.requests = counter("requests", "Chat completions by HTTP status.", "policy", "status")
        self.errors = counter("errors", "Chat completions that failed, by code.", "policy", "code")
        self.ended = counter("ended", "Answers by what ended them.", "policy", "ended")
        self.buckets = counter("bucket_requests", "Answers by bucket.", "policy", "bucket")
        self.samples = counter("samples", "Samples by outcome.", "policy", "outcome")
        self.rounds = counter("rounds", "Rounds of samples.", "policy")
        self.calls = counter("calls", "Calls to models.", "policy")
        self.tokens = counter("tokens", "Billed tokens.", "policy", "kind")
        self.usd = counter("usd", "Dollars, at the policy file's prices.", "policy")
        self.reloads = counter("reloads", "Changed policy files by outcome.", "policy", "outcome")
        self.in_flight = Gauge("tierwise_in_flight", "Requests under way.", registry=registry)
        self.ready = Gauge(
            "tierwise_ready", "1 where a policy can answer.", ["policy"], registry=registry
        )
        self.expected_share = Gauge(
            "tierwise_bucket_expected_share",
            "Bucket shares on the held-out items.",
            ["policy", "bucket"],
            registry=registry,
        )
        self.latency = Histogram(
            "tierwise_latency_seconds",
            "From question to answer.",
            ["policy"],
            buckets=_SECONDS,
            registry=registry,
        )

    def serving(self, file: PolicyFile) -> None:
        """Note what ``file`` promises, to compare with what is seen."""
        for bucket, share in zip(bucket_names(file), file.shares, strict=False):
            self.expected_share.labels(file.name, bucket).set(share)

    def answered(self, policy: str, answer: Answer) -> None:
        """Count what an answer took, also one that failed."""
        self.ended.labels(policy, answer.ended).inc()
        self.buckets.labels(policy, answer.bucket).inc()
        for sample in answer.trace:
            outcome = sample.error.partition(":")[0] if sample.error else "ok"
            self.samples.labels(policy, outcome).inc()
        self.rounds.labels(policy).inc(answer.rounds)
        self.calls.labels(policy).inc(answer.calls)
        self.tokens.labels(policy, "prompt").inc(answer.prompt_tokens)
        self.tokens.labels(policy, "completion").inc(answer.completion_tokens)
        self.usd.labels(policy).inc(answer.usd)
        self.latency.labels(policy).observe(answer.latency_s)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return bytes(generate_latest(self._registry))


class _Attempts:
    """Read when asked for: the models count, and a policy that is opened anew counts from 0."""

    def __init__(self, attempts: Callable[[], Mapping[str, int]]) -> None:
        self._attempts = attempts

    def collect(self) -> Iterator[CounterMetricFamily]:
        family = CounterMetricFamily(
            "tierwise_attempts", "Calls sent to providers, retries among them.", labels=["policy"]
        )
        for policy, count in self._attempts().items():
            family.add_metric([policy], count)
        yield family
