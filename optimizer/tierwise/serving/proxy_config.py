"""What an existing LiteLLM proxy loads to serve policies: a config and a handler file."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tierwise.llm.models import kind_of
from tierwise.schema import Tier
from tierwise.schema.policy_file import PolicyFile

HANDLER = "tierwise_policies"

_KEY_OF = {"azure": "AZURE_API_KEY", "gemini": "GEMINI_API_KEY"}


def proxy_files(file: PolicyFile) -> Mapping[str, str]:
    """File name -> text: the config, the handler, and the policy itself."""
    policy_name = f"{_plain(file.name)}.yaml"
    return {
        "config.yaml": _config(file),
        f"{HANDLER}.py": _handler(policy_name),
        policy_name: file.dumps(),
    }


def _config(file: PolicyFile) -> str:
    tiers = {tier.name: tier for tier in map(file.tier_of, file.policy.variants)}
    lines = [
        "# A LiteLLM proxy that serves a tierwise policy as a model; to add it to a proxy that you",
        "# run, copy the entries of model_list and custom_provider_map into its config.",
        "#   litellm --config config.yaml --port 4000",
        "model_list:",
        f"  - model_name: {json.dumps(file.name)}",
        "    litellm_params:",
        f"      model: {json.dumps('policy/' + file.name)}",
    ]
    if len(tiers) == 1:
        tier = next(iter(tiers.values()))
        lines += [
            "      # Usage is summed over all samples, so that a token's price gives the whole cost.",
            f"      input_cost_per_token: {tier.price.prompt_usd(1):.12f}",
            f"      output_cost_per_token: {tier.price.completion_usd(1):.12f}",
        ]
    lines += [line for tier in tiers.values() for line in _deployment(tier)]
    lines += [
        "litellm_settings:",
        "  custom_provider_map:",
        f"    - {{provider: policy, custom_handler: {HANDLER}.provider}}",
        "general_settings:",
        "  master_key: os.environ/LITELLM_MASTER_KEY",
    ]
    return "\n".join(lines) + "\n"


def _deployment(tier: Tier) -> list[str]:
    """The deployment that answers the policy's calls; an embedded tier needs none."""
    if kind_of(tier.model) != "litellm":
        return []
    provider = tier.model.partition("/")[0]
    key = _KEY_OF.get(provider, f"{provider.upper()}_API_KEY")
    return [
        f"  - model_name: {json.dumps(tier.model)}  # tier {tier.name}",
        "    litellm_params:",
        f"      model: {json.dumps(tier.model)}",
        f"      api_key: os.environ/{key}",
    ]


def _handler(policy_name: str) -> str:
    return (
        '"""The policies that the LiteLLM proxy beside this file serves as policy/NAME."""\n\n'
        "from tierwise.serving.litellm_provider import PolicyProvider\n\n"
        f"provider = PolicyProvider.beside(__file__, {json.dumps(policy_name)})\n"
    )


def _plain(name: str) -> str:
    """``name`` as a file's name."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in name).lstrip(".") or "policy"
