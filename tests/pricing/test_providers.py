"""Names of providers."""

import pytest

from apps.pricing.feeds.base import Listing
from apps.pricing.matching import compile_rule
from apps.pricing.providers import ALIASES, ROUTERS, SELF_HOSTED, canonical, router_provider

# any_llm.constants.LLMProvider of any-llm-sdk 1.10.0.
ANY_LLM = (
    "anthropic bedrock azure azureopenai cerebras cohere databricks deepseek fireworks gemini groq huggingface "
    "inception llama lmstudio llamafile llamacpp mistral moonshot mzai nebius ollama openai openrouter portkey "
    "sambanova sagemaker together vertexai vertexaianthropic vllm voyage watsonx xai perplexity minimax zai gateway"
)
# The values of gen_ai.provider.name in OpenTelemetry's semantic conventions 1.41.
OPENTELEMETRY = (
    "openai gcp.gen_ai gcp.vertex_ai gcp.gemini anthropic cohere azure.ai.inference azure.ai.openai ibm.watsonx.ai "
    "aws.bedrock perplexity x_ai deepseek groq mistral_ai moonshot_ai"
)


def test_every_provider_of_any_llm_and_opentelemetry_has_a_place(listing: Listing, second_listing: Listing) -> None:
    priced = {alias.provider for alias in (*listing.aliases, *second_listing.aliases)}
    for name in (*ANY_LLM.split(), *OPENTELEMETRY.split()):
        provider = canonical(name)
        assert provider in priced or provider in SELF_HOSTED or provider in ROUTERS or provider == "huggingface", name


def test_other_names_lead_to_names_of_the_table(listing: Listing, second_listing: Listing) -> None:
    priced = {alias.provider for alias in (*listing.aliases, *second_listing.aliases)}
    assert set(ALIASES.values()) <= priced | {"huggingface"}
    assert not ALIASES.keys() & priced
    assert {vendor for vendors in ROUTERS.values() for vendor in vendors or ()} <= priced


def test_both_feeds_call_a_provider_the_same(listing: Listing, second_listing: Listing) -> None:
    """litellm has prices under no name that ours would turn into another."""
    assert {alias.provider for alias in second_listing.aliases}.isdisjoint(ALIASES)
    assert {alias.provider for alias in second_listing.aliases}.isdisjoint((*SELF_HOSTED, *ROUTERS))


def test_names_are_read_without_case_and_spaces() -> None:
    assert canonical(" AWS.Bedrock ") == "aws"
    assert canonical("Somebody") == "somebody"


@pytest.mark.parametrize(
    ("provider", "model", "served"),
    [
        ("portkey", "@openai/gpt-5", ("openai", "gpt-5")),
        ("litellm", "bedrock/anthropic.claude-v2:1", ("aws", "anthropic.claude-v2:1")),
        ("gateway", "openai:gpt-5", ("openai", "gpt-5")),
        ("gateway", "fireworks:accounts/fireworks/models/x", ("fireworks", "accounts/fireworks/models/x")),
        ("openrouter", "x-ai/grok-5", ("x-ai", "grok-5")),
        ("openrouter", "qwen/qwen3", None),
        ("gateway", "gpt-5", None),
        ("openai", "openai/gpt-5", None),
        ("huggingface", "qwen/qwen3-32b:groq", ("huggingface_groq", "qwen/qwen3-32b")),
        ("huggingface", "qwen/qwen3-32b", None),
    ],
)
def test_routers_names(provider: str, model: str, served: tuple[str, str] | None) -> None:
    assert router_provider(provider, model) == served


@pytest.mark.parametrize("rule", [{}, {"equals": "a", "contains": "b"}, {"like": "a"}, {"equals": 3}, {"or": "a"}])
def test_unknown_match_rules_are_refused(rule: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="rule"):
        compile_rule(rule)
