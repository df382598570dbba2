"""Where list prices come from. A new feed is a new module here and a line in FEEDS."""

from collections.abc import Mapping

from apps.pricing.feeds import genai
from apps.pricing.feeds.base import Feed

FEEDS: Mapping[str, Feed] = {feed.source: feed for feed in (genai.FEED,)}
