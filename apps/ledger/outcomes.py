"""What becomes of a report."""

from enum import Enum


class Outcome(Enum):
    """Stored now; known already and left as it was; or refused, because its provider key is another project's."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    FOREIGN_PROVIDER_KEY = "foreign_provider_key"
