"""Where list prices come from. A new feed is a new module here and a line in FEEDS."""

from collections.abc import Mapping

from apps.pricing.feeds import genai, litellm
from apps.pricing.feeds.base import Feed

FEEDS: Mapping[str, Feed] = {feed.source: feed for feed in (genai.FEED, litellm.FEED)}

# Prices that staff set by hand (apps/pricing/staff.py).
STAFF = "staff"
# Whose price counts where several lists have a model. Staff first: somebody looked at one model, mostly because a
# feed lacks it or has it wrong, and an update of the feed must not undo that unseen; ending the staff's price hands
# the model back. Then the feeds in their order.
PRECEDENCE = (STAFF, *FEEDS)
