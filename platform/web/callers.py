"""Who is calling: the address, and how often it failed."""

import logging
import time

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)


def address(request: HttpRequest) -> str:
    """The caller's IP address. X-Forwarded-For is believed for as many proxies as TRUSTED_PROXIES says."""
    proxies: int = settings.TRUSTED_PROXIES
    if proxies:
        hops: list[str] = [
            hop.strip() for hop in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if hop.strip()
        ]
        if hops:
            return hops[-min(proxies, len(hops))]
    return str(request.META.get("REMOTE_ADDR", ""))


def too_many_failures(request: HttpRequest, purpose: str, per_minute: int) -> bool:
    """Counts one failure of `purpose` from the caller's address; whether it is over the limit this minute.

    Only failures cost a round trip to the cache.
    """
    return too_many(f"failures:{purpose}:{address(request)}", per_minute)


def too_many(what: str, per_minute: int) -> bool:
    """Counts one more of `what`; whether it is over the limit this minute.

    When the cache is down nothing is limited: the limit protects the service from noise, not the keys, which can't
    be guessed.
    """
    key = f"{what}:{int(time.time() // 60)}"
    try:
        cache.add(key, 0, timeout=120)
        return cache.incr(key) > per_minute
    except (RedisError, ValueError) as error:
        logger.warning("%s can't be counted: %s", what.partition(":")[0], error)
        return False
