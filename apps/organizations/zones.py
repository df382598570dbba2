"""The time zones that can be chosen."""

from zoneinfo import available_timezones

# Areas of the IANA database that people know their zone by; the rest are old names and technical ones.
AREAS = (
    "Africa/",
    "America/",
    "Antarctica/",
    "Arctic/",
    "Asia/",
    "Atlantic/",
    "Australia/",
    "Europe/",
    "Indian/",
    "Pacific/",
)

ZONES = ("UTC", *sorted(zone for zone in available_timezones() if zone.startswith(AREAS)))
