"""Background work of prices."""

from celery import shared_task

from apps.pricing.feeds.base import FeedError
from apps.pricing.refresh import refresh_all
from tenancy.tasks import SharedTask


@shared_task(name="pricing.refresh_prices", base=SharedTask)
def refresh_prices() -> dict[str, str]:
    """Looks for newer list prices (apps/pricing/refresh.py); by source, what was found or that it failed."""
    return {
        source: "failed" if isinstance(found, FeedError) else found.news.value
        for source, found in refresh_all().items()
    }
