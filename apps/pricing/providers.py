"""Who bills for a call: the names that SDKs and emitters use for a provider → the name it has in the price table.

The price table's names are genai-prices' provider ids. Its own rules for names match parts of words
(`azure.ai.openai` would be OpenAI, `vertexaianthropic` Anthropic), so ours are an explicit map. A name in
neither the map nor the table is an unknown provider: nothing is guessed from the model's name.
"""

from collections.abc import Mapping

# any-llm's names (any_llm.constants.LLMProvider), OpenTelemetry's `gen_ai.provider.name` values, and what
# OpenLLMetry, OpenInference and pydantic-ai send. Names that are the table's own need no entry.
_BILLED_AS = {
    "aws": "bedrock aws.bedrock aws_bedrock amazon_bedrock amazon",
    "azure": "azureopenai azure_openai azure.ai.openai az.ai.openai azure.ai.inference azure_ai",
    "fireworks": "fireworks_ai",
    "google": "gemini vertexai vertexaianthropic vertex_ai google_genai google-gla google-vertex google_vertex "
    "gcp.gemini gcp.gen_ai gcp.vertex_ai",
    "meta": "llama",
    "mistral": "mistralai mistral_ai",
    "moonshotai": "moonshot moonshot_ai",
    "together": "together_ai together-ai togetherai",
    "watsonx": "ibm.watsonx.ai ibm_watsonx",
    "voyageai": "voyage voyage_ai",
    "x-ai": "xai x_ai",
    "zai": "z-ai z.ai",
    # Asked through Hugging Face's router; which provider served is in the model's name (`router_provider`).
    "huggingface": "hugging_face",
}
ALIASES: Mapping[str, str] = {name: provider for provider, names in _BILLED_AS.items() for name in names.split()}

# Run on hardware the organization pays for elsewhere: a token costs nothing.
SELF_HOSTED = frozenset(("llamacpp", "llamafile", "lmstudio", "ollama", "sagemaker", "vllm"))

# Routers whose model names start with the vendor's ("openai/gpt-5", "anthropic:claude-…"), with the vendors whose
# list price is the price there too; None: any, because the customer's own account at the vendor is billed.
# OpenRouter adds nothing to a vendor's price, but open-weights models have many hosts: only those of vendors who
# sell their models themselves can be split.
ROUTERS: Mapping[str, frozenset[str] | None] = {
    "gateway": None,
    "litellm": None,
    "mzai": None,
    "portkey": None,
    "openrouter": frozenset(("anthropic", "cohere", "google", "openai", "perplexity", "x-ai")),
}


def canonical(provider: str) -> str:
    """The price table's name of a provider, lower case; the name itself where no other is known."""
    name = provider.strip().lower()
    return ALIASES.get(name, name)


def router_provider(provider: str, model: str) -> tuple[str, str] | None:
    """For a model name that says who serves it, that provider and its name of the model; else None.

    Both arguments canonical and lower case. ("portkey", "@openai/gpt-5") → ("openai", "gpt-5");
    ("huggingface", "qwen/qwen3-32b:groq") → ("huggingface_groq", "qwen/qwen3-32b").
    """
    if provider == "huggingface":
        name, colon, host = model.rpartition(":")
        return (f"huggingface_{host}", name) if colon else None
    if provider not in ROUTERS:
        return None
    head, slash, rest = model.removeprefix("@").partition("/")
    vendor, colon, first = head.partition(":")
    if colon:
        rest = f"{first}{slash}{rest}"
    elif not slash:
        return None
    vendor = canonical(vendor)
    vendors = ROUTERS[provider]
    return (vendor, rest) if vendors is None or vendor in vendors else None
