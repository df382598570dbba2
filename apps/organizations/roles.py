"""What each role may do. The server enforces all of it but one thing: whether a member can open a project's keys is
decided by who wrapped them for whom, not by this table."""

from enum import StrEnum

from apps.organizations.models import Membership

Role = Membership.Role


class Ability(StrEnum):
    VIEW = "view"  # projects, usage, who else is here
    SEAL = "seal"  # add and replace provider keys: needs public keys only
    KEEP = "keep"  # archive, restore and reveal provider keys, rotate: for projects whose keys they hold
    MANAGE = "manage"  # projects, members, settings, grants
    OWN = "own"  # owners, and the end of the organization


ABILITIES: dict[str, frozenset[Ability]] = {
    Role.OWNER: frozenset(Ability),
    Role.ADMIN: frozenset(Ability) - {Ability.OWN},
    Role.DEVELOPER: frozenset({Ability.VIEW, Ability.SEAL, Ability.KEEP}),
    Role.CONTRIBUTOR: frozenset({Ability.VIEW, Ability.SEAL}),
    Role.VIEWER: frozenset({Ability.VIEW}),
}

# Roles whose members hold project keys: of all projects, or of those they were added to.
KEY_HOLDERS = frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER})
HOLDERS_OF_ALL = frozenset({Role.OWNER, Role.ADMIN})

# In words, for people who choose one.
DESCRIPTIONS: dict[str, str] = {
    Role.OWNER: "Everything, including other owners and deleting the organization. Holds the keys of all projects.",
    Role.ADMIN: "Members, projects and settings. Holds the keys of all projects.",
    Role.DEVELOPER: "Uses projects, and holds the keys of those they are added to.",
    Role.CONTRIBUTOR: "Adds and replaces provider keys, but can't read any.",
    Role.VIEWER: "Sees projects, usage and cost. For finance, and for looking.",
}
