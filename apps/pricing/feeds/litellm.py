"""The feed litellm (github.com/BerriAI/litellm): the price file that ships in its wheel. Consulted second.

Only this one JSON file is taken out of the wheel (wheels.py); nothing of the package is installed, imported or run:
releases of it have been compromised. What is kept of the file is cut down to prices, amounts as strings; the
snapshot stores that document.

What becomes of the file's ways here:
- Prices are per token; ours are per million. `…_above_200k_tokens` is a tier, `…_batches`, `…_flex` and
  `…_priority` are variants, and `tiered_pricing` lists tiers with their bounds.
- Zero is written for "free", "unknown" and "included" alike. An entry without any price above zero is a free model
  only where input and output are both said to be zero and the price page is named; otherwise it is left out, so
  that its calls stay unpriced. A zero for anything but input and output is taken for "no price of its own".
- An entry with a price for something that no meter counts would be billed too low: it is left out whole, but for
  the extras of `_EXTRAS`, which are no part of every call.
- Modes that are not priced by what a call reports (images, videos, searches) are left out.
"""

import json
import logging
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from apps.pricing.feeds import wheels
from apps.pricing.feeds.base import Alias, FeedError, Listing, PriceKey, Rate, Segment, Variant, unit_price
from apps.pricing.meters import Meter

logger = logging.getLogger(__name__)

# Raised when the same file is to give other rows, so that it counts as news.
FORMAT = 1
PACKAGE = "litellm"
MEMBER = "litellm/model_prices_and_context_window_backup.json"

MODES = frozenset(
    ("chat", "completion", "responses", "embedding", "rerank", "audio_transcription", "audio_speech", "realtime", "ocr")
)

_MILLION = 1_000_000
# The file's price keys: the meter, and how many units our price is for. Theirs is for one.
PRICE_KEYS: Mapping[str, tuple[Meter, int]] = {
    "input_cost_per_token": (Meter.INPUT, _MILLION),
    "output_cost_per_token": (Meter.OUTPUT, _MILLION),
    "cache_read_input_token_cost": (Meter.CACHE_READ, _MILLION),
    "cache_creation_input_token_cost": (Meter.CACHE_WRITE, _MILLION),
    "cache_creation_input_token_cost_above_1hr": (Meter.CACHE_WRITE_1H, _MILLION),
    "output_cost_per_reasoning_token": (Meter.REASONING, _MILLION),
    "citation_cost_per_token": (Meter.CITATION, _MILLION),
    "input_cost_per_audio_token": (Meter.AUDIO_IN, _MILLION),
    "output_cost_per_audio_token": (Meter.AUDIO_OUT, _MILLION),
    "cache_read_input_audio_token_cost": (Meter.CACHE_AUDIO_READ, _MILLION),
    "input_cost_per_image_token": (Meter.IMAGE_IN, _MILLION),
    "output_cost_per_image_token": (Meter.IMAGE_OUT, _MILLION),
    "cache_read_input_image_token_cost": (Meter.CACHE_IMAGE_READ, _MILLION),
    "input_cost_per_video_token": (Meter.VIDEO_IN, _MILLION),
    "output_cost_per_video_token": (Meter.VIDEO_OUT, _MILLION),
    "input_cost_per_character": (Meter.CHARACTER_IN, _MILLION),
    "input_cost_per_text_message": (Meter.MESSAGE_IN, 1_000),
    "input_cost_per_request": (Meter.REQUEST, 1_000),
    # A reranker's query is a request.
    "input_cost_per_query": (Meter.REQUEST, 1_000),
    "ocr_cost_per_page": (Meter.PAGE_IN, 1_000),
    "annotation_cost_per_page": (Meter.ANNOTATED_PAGE_IN, 1_000),
    # A web search, by how much context it brings. We are not told which: only one price for all sizes is a price.
    "search_context_cost_per_query": (Meter.WEB_SEARCH, 1_000),
}
# Of transcriptions. For chat models it is rented capacity, which no call is billed for.
_SECONDS = {"input_cost_per_second": (Meter.AUDIO_SECOND, 3_600)}
_SEARCH = "search_context_cost_per_query"

# Prices of what a call may have beside its meters, what our meters count by tokens already, and what repeats another
# price in another unit.
_EXTRAS = re.compile(
    r"code_interpreter_|computer_use_|file_search_|vector_store_|google_maps_grounding_|guardrail_"
    r"|(in|out)put_dbu_cost_per_token$|input_cost_per_token_cache_hit$|explicit_cache_read_input_token_cost$"
    r"|input_cost_per_(image|audio_per_second|video_per_second)|cache_creation_input_audio_token_cost$"
    r"|.*_above_12hr|.*_(ultrafast|balanced|decisions)$"
)
_TIER = re.compile(r"_above_(\d+)k_tokens")
_VARIANTS: Mapping[str, Variant] = {
    "batches": (("processing", "batch"),),
    "flex": (("service_tier", "flex"),),
    "priority": (("service_tier", "priority"),),
}
_VARIANT = re.compile(f"_({'|'.join(_VARIANTS)})$")
# Prices of capacity, of image sizes and of size classes, which are no models that a call can name.
_NO_MODEL = re.compile(r"commitment/|(^|/)(\d+|max)-x-|^(fireworks|together)-ai-")

# Names under a region or a kind of deployment (us-east-1/…, eu/…): calls don't say where they were served.
_REGION = re.compile(r"^(us|eu|ap|apac|sa|ca|me|af|il|mx|global)(-gov|-standard)?(-[a-z]+-\d)?/|^\*/")

# Their names of providers → ours. Families and older interfaces of a provider are those of who bills. In order of
# precedence where the file has a model of a provider under several. Who is not here (resellers of resellers,
# subscriptions, own hardware) is left out: nobody's calls name them, and each would be as many rows as a vendor.
_BILLED_AS = {
    "ai21": "ai21",
    "anthropic": "anthropic",
    "aws": "bedrock_converse bedrock bedrock_mantle",
    "azure": "azure azure_ai azure_text",
    "baseten": "baseten",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "cohere": "cohere cohere_chat",
    "dashscope": "dashscope",
    "databricks": "databricks",
    "deepgram": "deepgram",
    "deepinfra": "deepinfra",
    "deepseek": "deepseek",
    "elevenlabs": "elevenlabs",
    "fireworks": "fireworks_ai fireworks_ai-embedding-models",
    "friendliai": "friendliai",
    "google": "gemini vertex_ai vertex_ai-language-models vertex_ai-text-models vertex_ai-embedding-models"
    " vertex_ai-anthropic_models vertex_ai-mistral_models vertex_ai-llama_models vertex_ai-ai21_models"
    " vertex_ai-deepseek_models vertex_ai-qwen_models vertex_ai-zai_models vertex_ai-openai_models"
    " vertex_ai-minimax_models vertex_ai-moonshot_models",
    "groq": "groq",
    "hyperbolic": "hyperbolic",
    "inception": "inception text-completion-inception",
    "lambda_ai": "lambda_ai",
    "meta": "meta meta_llama",
    "minimax": "minimax",
    "mistral": "mistral codestral text-completion-codestral",
    "moonshotai": "moonshot",
    "nebius": "nebius",
    "novita": "novita",
    "nscale": "nscale",
    "oci": "oci",
    "openai": "openai text-completion-openai",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "replicate": "replicate",
    "sambanova": "sambanova",
    "scaleway": "scaleway",
    "snowflake": "snowflake",
    "together": "together_ai",
    "vercel_ai_gateway": "vercel_ai_gateway",
    "voyageai": "voyage",
    "wandb": "wandb",
    "watsonx": "watsonx",
    "x-ai": "xai",
    "zai": "zai",
}
_PROVIDERS: Mapping[str, str] = {theirs: ours for ours, names in _BILLED_AS.items() for theirs in names.split()}
_PRECEDENCE = {theirs: place for place, theirs in enumerate(_PROVIDERS)}


class LitellmFeed:
    source = "litellm"

    def read(self) -> tuple[str, bytes]:
        version, content = wheels.installed(PACKAGE)
        return version, reduced(content)

    def newest(self) -> tuple[str, bytes]:
        with wheels.downloaded(PACKAGE) as wheel:
            return wheel.version, reduced(wheel.member(MEMBER))

    def parse(self, document: bytes) -> Listing:
        content = json.loads(document)
        if content.get("format") != FORMAT:
            raise FeedError(f"The document's format is {content.get('format')!r}, not {FORMAT}.")
        aliases = []
        prices: dict[PriceKey, list[Segment]] = {}
        for model in content["models"]:
            provider, name = model["provider"], model["id"]
            aliases.append(Alias(provider, {"equals": name}, provider, name))
            for key, rate, note in _rates(provider, name, model["prices"]):
                prices[key] = [Segment(None, None, rate, note)]
        return Listing(aliases, prices)


FEED = LitellmFeed()


# --- The file → the document ---


def reduced(content: bytes) -> bytes:
    """What prices depend on. Raises FeedError for a file of another shape."""
    try:
        entries = json.loads(content, parse_float=Decimal)
    except ValueError as error:
        raise FeedError(f"The file is no JSON: {error}.") from error
    if not isinstance(entries, dict):
        raise FeedError("The file holds no object.")
    models: dict[tuple[str, str], dict[str, Any]] = {}
    for name, entry in sorted(entries.items(), key=_place):
        if not isinstance(entry, dict):
            raise FeedError(f"{name} is no object.")
        if (model := _model(name, entry)) and (prices := _prices(name, entry)):
            # A name that the provider's families share is the first one's.
            models.setdefault((model[0], model[1].lower()), {"provider": model[0], "id": model[1], "prices": prices})
    if not models:
        raise FeedError("The file has no model with a price.")
    document = {"format": FORMAT, "models": [models[key] for key in sorted(models)]}
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def _place(item: tuple[str, Any]) -> tuple[int, str]:
    provider = item[1].get("litellm_provider") if isinstance(item[1], dict) else None
    return _PRECEDENCE.get(str(provider), len(_PRECEDENCE)), item[0]


def _model(name: str, entry: Mapping[str, Any]) -> tuple[str, str] | None:
    """Our name of the provider, and the model's name at the provider; None for what is left out."""
    provider = _PROVIDERS.get(entry.get("litellm_provider", ""))
    if provider is None or entry.get("mode", "chat") not in MODES or _NO_MODEL.search(name):
        return None
    head, slash, rest = name.partition("/")
    model = rest if slash and _PROVIDERS.get(head) == provider else name
    if not model or len(model) > 256 or _REGION.match(model):
        return None
    return provider, model


class _Price(NamedTuple):
    meter: Meter
    per: int
    tier_above: int
    variant: Variant


def _meaning(key: str, mode: str) -> _Price | None:
    """What a price key is for; None where no meter counts that."""
    base = key
    variant: Variant = ()
    if found := _VARIANT.search(base):
        base, variant = base[: found.start()], _VARIANTS[found[1]]
    tier_above = 0
    if tier := _TIER.search(base):
        base, tier_above = base[: tier.start()] + base[tier.end() :], int(tier[1]) * 1_000
    known = PRICE_KEYS.get(base) or (_SECONDS.get(base) if mode == "audio_transcription" else None)
    return _Price(*known, tier_above, variant) if known else None


def _prices(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """The entry's prices by key, exact; {} where it is to be left out."""
    mode = entry.get("mode", "chat")
    prices: dict[str, str] = {}
    for key, value in _amounts(entry):
        amount = _amount(name, key, value)
        if amount is None:
            continue
        meaning = _meaning(key, mode)
        if meaning is None:
            if amount and not _EXTRAS.match(key) and not (key.endswith("cost_per_second") and mode == "chat"):
                logger.info("%s has a price for %s, which is no known meter: left out.", name, key)
                return {}
        elif amount or meaning.meter in (Meter.INPUT, Meter.OUTPUT):
            prices[key] = str(amount)
    free = bool(entry.get("source")) and {"input_cost_per_token", "output_cost_per_token"} <= prices.keys()
    return prices if free or any(Decimal(price) for price in prices.values()) else {}


def _amounts(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """(price key, amount), those of `tiered_pricing` as the keys that say the same."""
    for key, value in entry.items():
        if "cost" in key and key != _SEARCH:
            yield key, value
    sizes = entry.get(_SEARCH)
    if isinstance(sizes, dict) and len(set(sizes.values())) == 1:
        yield _SEARCH, next(iter(sizes.values()))
    tiers = entry.get("tiered_pricing") or ()
    for tier in tiers:
        start = int(tier.get("range", (0,))[0])
        if start % 1_000:
            raise FeedError(f"A tier that starts at {start}, which no price key says.")
        suffix = f"_above_{start // 1_000}k_tokens" if start else ""
        for key, value in tier.items():
            if "cost" in key:
                yield key + suffix, value


def _amount(name: str, key: str, value: Any) -> Decimal | None:
    match value:
        case bool() | None | str() | dict() | list():
            return None
        case Decimal() | int():
            amount = Decimal(value)
            if not amount.is_finite() or amount < 0:
                raise FeedError(f"{name} {key} is {value}, which is no price.")
            return amount.normalize()
    raise FeedError(f"{name} {key} is {value!r}, which is no price.")


# --- The document → price rows ---


def _rates(provider: str, model: str, prices: Mapping[str, str]) -> Iterator[tuple[PriceKey, Rate, str]]:
    for key, amount in prices.items():
        meaning = _meaning(key, "audio_transcription")
        if meaning is None:
            raise FeedError(f"{provider}:{model} has a price for {key}, which is no known meter.")
        price, note = unit_price(str(Decimal(amount) * meaning.per), f"{provider}:{model} {key}")
        price_key = PriceKey(provider, model, meaning.meter, meaning.tier_above, meaning.variant)
        yield price_key, Rate(price, meaning.per), note
