"""Forms of members. What they let through is checked again by services."""

import uuid
from collections.abc import Iterable
from typing import Any

from django import forms

from apps.organizations.models import Membership
from apps.organizations.roles import ABILITIES, Ability
from apps.projects.models import Project

Role = Membership.Role


def roles_for(actor: Membership) -> list[tuple[str, str]]:
    """The roles that somebody may give, the most common first choice of a team first."""
    order = (Role.DEVELOPER, Role.ADMIN, Role.CONTRIBUTOR, Role.VIEWER, Role.OWNER)
    may_own = Ability.OWN in ABILITIES[actor.role]
    return [(role.value, str(role.label)) for role in order if role != Role.OWNER or may_own]


class AccessForm(forms.Form):
    """A role, and a developer's projects. `projects` are those to choose from."""

    role = forms.ChoiceField(label="Role", widget=forms.RadioSelect)
    projects = forms.MultipleChoiceField(
        required=False,
        label="Projects",
        help_text="A developer holds the keys of these projects only. Other roles don't need a choice.",
        widget=forms.CheckboxSelectMultiple,
    )

    def __init__(self, *args: Any, actor: Membership, choose_from: Iterable[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["role"].choices = roles_for(actor)  # type: ignore[attr-defined]  # the stubs know Field only
        self.fields["projects"].choices = [  # type: ignore[attr-defined]
            (str(project.id), f"{project.name} ({project.get_environment_display().lower()})")
            for project in choose_from
        ]

    def project_ids(self) -> list[uuid.UUID]:
        return [uuid.UUID(text) for text in self.cleaned_data["projects"]]


class InvitationForm(AccessForm):
    email = forms.EmailField(
        label="E-mail",
        help_text="The invitation can be accepted with this address only.",
        widget=forms.EmailInput(attrs={"autocomplete": "off"}),
    )
    field_order = ["email", "role", "projects"]
