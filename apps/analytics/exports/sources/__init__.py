"""What can be in a file: one registry, a module each."""

from collections.abc import Mapping

from apps.analytics.exports.sources.base import Source
from apps.analytics.exports.sources.focus import FOCUS
from apps.analytics.exports.sources.rows import ROWS
from apps.analytics.exports.sources.sums import SUMS
from apps.analytics.exports.wanted import Content

SOURCES: Mapping[Content, Source] = {Content.ROWS: ROWS, Content.SUMS: SUMS, Content.FOCUS: FOCUS}
