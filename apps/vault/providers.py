"""The providers that people choose from: those any-llm can call with a key of the vault.

Names and variables are any-llm-sdk's (`any_llm.constants.LLMProvider`, `ENV_API_KEY_NAME`); tests/contract compares
them with the release. The name is what SDKs send to `GET /provider-keys/{provider}`. What is missing here can still be
stored: any name of the right form can. `mzai` is missing on purpose, because SDKs fetch no provider key for it.
"""

from enum import StrEnum

import msgspec


class Key(StrEnum):
    """Whether any-llm wants a key for a provider."""

    REQUIRED = "required"
    # It takes one; without it, the provider is asked without, or by other credentials of the program's surroundings.
    OPTIONAL = "optional"
    # It ignores one: the provider runs at the customer's, or reads credentials of its cloud.
    NONE = "none"


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    label: str
    # The variable any-llm reads without a vault: what people have in their `.env`, so a word to search by.
    variable: str = ""
    key: Key = Key.REQUIRED
    # Runs on the customer's own machines.
    is_local: bool = False
    # What its keys start with; a hint that never blocks, because providers change it.
    prefix: str = ""
    # Where its keys are made, or where it is described if there is no such page.
    url: str
    # One of its models, small and cheap where there are several, for the first call.
    model: str


def _provider(
    name: str, label: str, variable: str, prefix: str, url: str, model: str, key: Key = Key.REQUIRED
) -> Provider:
    return Provider(name=name, label=label, variable=variable, prefix=prefix, url=url, model=model, key=key)


def _local(name: str, label: str, variable: str, url: str, model: str, key: Key) -> Provider:
    return Provider(name=name, label=label, variable=variable, url=url, model=model, key=key, is_local=True)


# In the order they are offered: those asked for most, the others by name, local ones last.
PROVIDERS: tuple[Provider, ...] = (
    _provider("openai", "OpenAI", "OPENAI_API_KEY", "sk-", "https://platform.openai.com/api-keys", "gpt-4o-mini"),
    _provider(
        "anthropic",
        "Anthropic",
        "ANTHROPIC_API_KEY",
        "sk-ant-",
        "https://console.anthropic.com/settings/keys",
        "claude-haiku-4-5",
    ),
    _provider(
        "gemini",
        "Google Gemini",
        "GEMINI_API_KEY",
        "AIza",
        "https://aistudio.google.com/apikey",
        "gemini-2.5-flash-lite",
    ),
    _provider(
        "mistral",
        "Mistral",
        "MISTRAL_API_KEY",
        "",
        "https://console.mistral.ai/api-keys",
        "mistral-small-latest",
    ),
    _provider(
        "openrouter",
        "OpenRouter",
        "OPENROUTER_API_KEY",
        "sk-or-",
        "https://openrouter.ai/settings/keys",
        "openai/gpt-4o-mini",
    ),
    _provider("azure", "Azure AI Foundry", "AZURE_API_KEY", "", "https://ai.azure.com/", "gpt-4o-mini"),
    _provider(
        "azureopenai",
        "Azure OpenAI",
        "AZURE_OPENAI_API_KEY",
        "",
        "https://ai.azure.com/",
        "gpt-4o-mini",
        Key.OPTIONAL,
    ),
    _provider(
        "bedrock",
        "Amazon Bedrock",
        "AWS_BEARER_TOKEN_BEDROCK",
        "",
        "https://console.aws.amazon.com/bedrock/home#/api-keys",
        "amazon.nova-micro-v1:0",
        Key.OPTIONAL,
    ),
    _provider("cerebras", "Cerebras", "CEREBRAS_API_KEY", "csk-", "https://cloud.cerebras.ai/", "llama3.1-8b"),
    _provider(
        "cohere",
        "Cohere",
        "COHERE_API_KEY",
        "",
        "https://dashboard.cohere.com/api-keys",
        "command-r7b-12-2024",
    ),
    _provider(
        "databricks",
        "Databricks",
        "DATABRICKS_TOKEN",
        "dapi",
        "https://docs.databricks.com/",
        "databricks-meta-llama-3-3-70b-instruct",
    ),
    _provider(
        "deepseek",
        "DeepSeek",
        "DEEPSEEK_API_KEY",
        "sk-",
        "https://platform.deepseek.com/api_keys",
        "deepseek-chat",
    ),
    _provider(
        "fireworks",
        "Fireworks",
        "FIREWORKS_API_KEY",
        "fw_",
        "https://app.fireworks.ai/settings/users/api-keys",
        "accounts/fireworks/models/gpt-oss-20b",
    ),
    _provider(
        "gateway",
        "any-llm gateway",
        "GATEWAY_API_KEY",
        "",
        "https://github.com/mozilla-ai/any-llm",
        "openai:gpt-4o-mini",
        Key.OPTIONAL,
    ),
    _provider("groq", "Groq", "GROQ_API_KEY", "gsk_", "https://console.groq.com/keys", "llama-3.1-8b-instant"),
    _provider(
        "huggingface",
        "Hugging Face",
        "HF_TOKEN",
        "hf_",
        "https://huggingface.co/settings/tokens",
        "openai/gpt-oss-20b:groq",
    ),
    _provider(
        "inception",
        "Inception",
        "INCEPTION_API_KEY",
        "",
        "https://platform.inceptionlabs.ai/dashboard/api-keys",
        "mercury",
    ),
    _provider(
        "llama",
        "Llama API",
        "LLAMA_API_KEY",
        "LLM|",
        "https://llama.developer.meta.com/api-keys",
        "Llama-3.3-8B-Instruct",
    ),
    _provider(
        "minimax",
        "MiniMax",
        "MINIMAX_API_KEY",
        "",
        "https://platform.minimax.io/user-center/basic-information/interface-key",
        "MiniMax-M2",
    ),
    _provider(
        "moonshot",
        "Moonshot AI",
        "MOONSHOT_API_KEY",
        "sk-",
        "https://platform.moonshot.ai/console/api-keys",
        "kimi-k2-0905-preview",
    ),
    _provider(
        "nebius",
        "Nebius",
        "NEBIUS_API_KEY",
        "",
        "https://studio.nebius.com/settings/api-keys",
        "openai/gpt-oss-20b",
    ),
    _provider(
        "perplexity", "Perplexity", "PERPLEXITY_API_KEY", "pplx-", "https://www.perplexity.ai/settings/api", "sonar"
    ),
    _provider("portkey", "Portkey", "PORTKEY_API_KEY", "", "https://app.portkey.ai/api-keys", "@openai/gpt-4o-mini"),
    _provider(
        "sagemaker",
        "Amazon SageMaker",
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        "",
        "https://aws.amazon.com/sagemaker/",
        "your-endpoint",
        Key.NONE,
    ),
    _provider(
        "sambanova",
        "SambaNova",
        "SAMBANOVA_API_KEY",
        "",
        "https://cloud.sambanova.ai/apis",
        "Meta-Llama-3.1-8B-Instruct",
    ),
    _provider(
        "together",
        "Together AI",
        "TOGETHER_API_KEY",
        "",
        "https://api.together.ai/settings/api-keys",
        "openai/gpt-oss-20b",
    ),
    _provider(
        "vertexai",
        "Google Vertex AI",
        "",
        "",
        "https://cloud.google.com/vertex-ai/docs",
        "gemini-2.5-flash-lite",
        Key.NONE,
    ),
    _provider(
        "vertexaianthropic",
        "Anthropic on Vertex AI",
        "",
        "",
        "https://cloud.google.com/vertex-ai/generative-ai/docs/partner-models/use-claude",
        "claude-haiku-4-5",
        Key.NONE,
    ),
    _provider(
        "voyage", "Voyage AI", "VOYAGE_API_KEY", "pa-", "https://dashboard.voyageai.com/api-keys", "voyage-3.5-lite"
    ),
    _provider(
        "watsonx",
        "IBM watsonx",
        "WATSONX_API_KEY",
        "",
        "https://cloud.ibm.com/iam/apikeys",
        "ibm/granite-3-8b-instruct",
    ),
    _provider("xai", "xAI", "XAI_API_KEY", "xai-", "https://console.x.ai/", "grok-4-fast"),
    _provider("zai", "Z.ai", "ZAI_API_KEY", "", "https://z.ai/manage-apikey/apikey-list", "glm-4.5-air"),
    _local("llamacpp", "llama.cpp", "", "https://github.com/ggml-org/llama.cpp", "your-model", Key.NONE),
    _local("llamafile", "llamafile", "", "https://github.com/Mozilla-Ocho/llamafile", "your-model", Key.NONE),
    _local("lmstudio", "LM Studio", "LM_STUDIO_API_KEY", "https://lmstudio.ai/", "openai/gpt-oss-20b", Key.NONE),
    _local("ollama", "Ollama", "", "https://github.com/ollama/ollama", "llama3.2", Key.NONE),
    _local("vllm", "vLLM", "VLLM_API_KEY", "https://docs.vllm.ai/", "your-model", Key.OPTIONAL),
)
BY_NAME = {provider.name: provider for provider in PROVIDERS}


def label_of(name: str) -> str:
    """What people call a provider; its name where it is none of the list."""
    return BY_NAME[name].label if name in BY_NAME else name
