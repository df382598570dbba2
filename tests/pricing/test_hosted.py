"""How much of what any-llm's users call has a price: 113 models of all its hosted providers (docs/pricing.md)."""

import json
from pathlib import Path

from apps.pricing.book import Book
from apps.pricing.meters import Meter
from apps.pricing.providers import SELF_HOSTED
from apps.pricing.rating import Status, rate_by
from tests.pricing.paper import NOW
from tests.pricing.test_providers import ANY_LLM

HOSTED = json.loads((Path(__file__).parent / "hosted_models.json").read_text(encoding="utf-8"))
# Why each has none: docs/pricing.md.
UNPRICED = {
    "cohere:command-a-reasoning-08-2025",
    "huggingface:Qwen/Qwen2.5-72B-Instruct",
    "inception:mercury",
    "llama:Llama-4-Maverick-17B-128E-Instruct-FP8",
    "openrouter:qwen/qwen3-embedding-8b",
    "sambanova:Meta-Llama-3.1-8B-Instruct",
    "together:intfloat/multilingual-e5-large-instruct",
}


def test_the_list_has_every_hosted_provider_and_no_pair_twice() -> None:
    assert len(HOSTED) == 113
    assert len({(pair["provider"], pair["model"]) for pair in HOSTED}) == 113
    assert {pair["provider"] for pair in HOSTED} == set(ANY_LLM.split()) - SELF_HOSTED


def test_at_least_105_are_priced_and_the_others_are_named(both: Book) -> None:
    meters = {Meter.INPUT: 1_000}
    ratings = {
        f"{pair['provider']}:{pair['model']}": rate_by(
            both, pair["provider"], pair["response"], meters, NOW, request_model=pair["model"]
        )
        for pair in HOSTED
    }
    assert {name for name, rating in ratings.items() if rating.cost is None} == UNPRICED
    priced = [rating for rating in ratings.values() if rating.status is Status.PRICED]
    assert len(priced) >= 105
    assert {rating.rule for rating in priced} == {"list:genai-prices", "list:litellm"}


def test_the_documentation_names_the_unpriced() -> None:
    text = (Path(__file__).parents[2] / "docs" / "pricing.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in UNPRICED)
