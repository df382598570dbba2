"""For pages of other apps that show what a removal left to do."""

from django import template

from apps.members.checklist import Checklist, checklist
from apps.projects.models import Project

register = template.Library()


@register.simple_tag
def rotation_due(project: Project) -> Checklist | None:
    """What is left to do for a project whose keys somebody lost; None for nothing."""
    return checklist(project)
