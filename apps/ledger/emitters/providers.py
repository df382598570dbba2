"""Who served a call, by the names any-llm has: a customer's provider keys are kept under them.

Frameworks name themselves where a provider should stand, and some emitters name nobody. Then the model's name
decides, if only one company sells it under that name itself; else the provider stays unknown.
"""

import re

_KNOWN_AS = {
    "azure": "azure.ai.inference azure_ai",
    "azureopenai": "azure.ai.openai az.ai.openai azure_openai",
    "bedrock": "aws.bedrock aws aws_bedrock amazon_bedrock",
    "fireworks": "fireworks_ai",
    "gemini": "gcp.gemini gcp.gen_ai google-gla google_genai",
    "huggingface": "hugging_face",
    "mistral": "mistral_ai mistralai",
    "moonshot": "moonshot_ai",
    "together": "together_ai together-ai",
    "vertexai": "gcp.vertex_ai google-vertex google_vertex vertex_ai",
    "voyage": "voyage_ai voyageai",
    "watsonx": "ibm.watsonx.ai",
    "xai": "x_ai x-ai",
}
NAMES = {sent: name for name, names in _KNOWN_AS.items() for sent in names.split()}
FRAMEWORKS = frozenset(("langchain", "langgraph", "crewai"))

# Not in here: names that others serve too, such as open-weights models under their own names ("gpt-oss-120b",
# "mistral-7b-instruct", "deepseek-v3").
_SELLERS = (
    ("openai", r"(gpt-(?!oss)|chatgpt-|o[134](-|$)|text-embedding-(3-|ada-))"),
    ("anthropic", r"claude-"),
    ("gemini", r"gemini-"),
    ("mistral", r"mistral-(large|medium|small|embed)(-latest|-[0-9]{4})?$"),
    ("cohere", r"command-"),
    ("xai", r"grok-"),
    ("deepseek", r"deepseek-(chat|reasoner)$"),
)
# A host's way of naming: "openai/gpt-5", "mistral-large:123b", "claude-sonnet-4@20250514".
_HOSTED = re.compile(r"[/:@]")
_MATCHERS = [(seller, re.compile(pattern)) for seller, pattern in _SELLERS]


def provider_name(sent: str, model: str) -> str:
    """any-llm's name of the provider, lower case; "" when nobody can tell."""
    # In lower case "İ" is two characters.
    name = sent.lower()[:64]
    if name and name not in FRAMEWORKS:
        return NAMES.get(name, name)
    model = model.lower()
    if _HOSTED.search(model):
        return ""
    return next((seller for seller, pattern in _MATCHERS if pattern.match(model)), "")
