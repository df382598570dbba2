"""A pytest plugin: keeps tests of one `xdist_group` in one process, under `--dist loadgroup`.

pytest-xdist 3.8 marks the group in a field of the test that pytest 9.2 no longer reads, and spreads the tests as if there
were no groups (https://github.com/pytest-dev/pytest-xdist/issues/1386). tests/plugins/test_groups.py says when this can
go: with a release that does it itself.
"""

import pytest
from _pytest.nodeid import NodeId


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if grouped := vars(item).get("_nodeid"):
            item._id = NodeId.parse(grouped)
