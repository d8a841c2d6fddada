"""What changed since a policy was tuned: its task, model, prices, what its modes send."""

from __future__ import annotations

import contextlib
from importlib.metadata import version

from tierwise.errors import TierwiseError
from tierwise.llm.models import fingerprint_of, kind_of, resolve_tier
from tierwise.schema import Price, Tier
from tierwise.schema.policy_file import PolicyFile
from tierwise.tasks import Task


def changes(file: PolicyFile, task: Task) -> list[str]:
    """A sentence for each thing that is not as it was; empty where all is.

    The weights of an embedded model are known by their hash. A model that its provider changed
    behind the same name cannot be seen here: that is what ``verify``'s samples are for.
    """
    said = []
    then = file.task
    if task.name != then.name:
        said.append(f"the task is {task.name!r}, the policy was tuned on {then.name!r}")
    if task.version != then.version:
        said.append(f"the task is version {task.version}, it was {then.version}")
    if task.metric != then.metric:
        said.append(f"the metric is {task.metric!r}, it was {then.metric!r}")
    if then.items_sha256 and task.items_sha256 != then.items_sha256:
        said.append(
            "the task's items are not those that the policy was tuned on, so scores are not like "
            "for like (items_sha256 differs)"
        )
    tiers = {tier.name: tier for tier in map(file.tier_of, file.policy.variants)}
    for tier in tiers.values():
        said += _tier_changes(tier)
    said += _weights_changes(file)
    tuned_by = file.provenance.get("tierwise")
    if tuned_by and tuned_by != version("tierwise"):
        said.append(f"tierwise is {version('tierwise')}, the policy was tuned by {tuned_by}")
    return said


def _tier_changes(tier: Tier) -> list[str]:
    try:
        now = resolve_tier(tier.name, tier.model, price=_listed(tier), modes=None)
    except TierwiseError as error:
        return [f"model {tier.model!r} is not known any more: {error}"]
    said = []
    if _rates(now.price) != _rates(tier.price):
        dated = f" (of {tier.price.as_of})" if tier.price.as_of else ""
        said.append(
            f"{tier.model} is listed at ${now.price.prompt_usd_per_mtok:g} and "
            f"${now.price.completion_usd_per_mtok:g} for a million tokens in and out; the policy's "
            f"bill{dated} takes ${tier.price.prompt_usd_per_mtok:g} and "
            f"${tier.price.completion_usd_per_mtok:g}"
        )
    if kind_of(tier.model) == "embedded":
        for mode, sends in tier.modes.items():
            if mode in now.modes and dict(now.modes[mode]) != dict(sends):
                said.append(f"mode {mode!r} of {tier.model} sends other parameters by now")
    return said


def _weights_changes(file: PolicyFile) -> list[str]:
    then = file.provenance.get("weights_sha256")
    said = []
    for model, sha256 in (then if isinstance(then, dict) else {}).items():
        with contextlib.suppress(TierwiseError):  # a model that is not known is said already
            now = fingerprint_of(str(model))
            if now and now != sha256:
                said.append(f"the weights of {model} are others than the policy was tuned on")
    return said


def _listed(tier: Tier) -> Price | None:
    """None asks for the price list; a model without one keeps the price that the job gave."""
    if kind_of(tier.model) != "litellm":
        return None
    from tierwise.llm.litellm import litellm_price

    return None if litellm_price(tier.model) else tier.price


def _rates(price: Price) -> tuple[float, float]:
    return round(price.prompt_usd_per_mtok, 9), round(price.completion_usd_per_mtok, 9)
