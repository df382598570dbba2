"""What tests of spans share."""

import pytest

from tests.cast import Workspace
from tests.ledger.exporting import Exporter


@pytest.fixture
def exporter(acme: Workspace) -> Exporter:
    return Exporter(acme)
