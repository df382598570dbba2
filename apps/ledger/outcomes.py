"""What becomes of a report."""

from enum import Enum


class Outcome(Enum):
    """Stored now; known already and left as it was; refused, because its provider key is another project's; or not to
    be stored, because a value of it is out of the database's bounds."""

    STORED = "stored"
    DUPLICATE = "duplicate"
    FOREIGN_PROVIDER_KEY = "foreign_provider_key"
    OUT_OF_BOUNDS = "out_of_bounds"
