"""The policies that the LiteLLM proxy beside this file serves as policy/NAME."""

from tierwise.serving.litellm_provider import PolicyProvider

provider = PolicyProvider.beside(__file__, "arithmetic-small.yaml")
