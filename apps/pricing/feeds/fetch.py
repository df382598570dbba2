"""`python -m apps.pricing.feeds.fetch`: installs the price files that no installed package has (wheels.py).

Needs pip and neither Django nor settings, so that an image can be built with it.
"""

import sys

from apps.pricing.feeds import litellm, wheels
from apps.pricing.feeds.base import FeedError


def main() -> int:
    try:
        wheels.install(litellm.PACKAGE, litellm.MEMBER)
    except FeedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
