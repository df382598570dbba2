"""What the components in templates/components/ can't say in Django's own template language."""

from typing import Any

from django import template

register = template.Library()


@register.filter
def grouped(value: str, size: int = 4) -> list[str]:
    """`value` in groups of `size` characters, as fingerprints are read aloud. Spaces in it don't count."""
    digits = "".join(str(value).split())
    return [digits[start : start + size] for start in range(0, len(digits), size)]


@register.filter
def initials(name: str) -> str:
    """One or two letters that stand for a person, an organization or an address: `AL` for Ada Lovelace."""
    words = str(name).partition("@")[0].replace(".", " ").replace("_", " ").split()
    letters = [next((letter for letter in word if letter.isalnum()), "") for word in words]
    found = [letter for letter in letters if letter]
    return "".join(found[:1] + found[1:][-1:]).upper() or "?"


@register.simple_tag
def organization_path(organization: Any) -> str:
    """Where an organization's pages begin."""
    return f"/o/{organization.pk}/"


@register.inclusion_tag("components/nav_item.html", takes_context=True)
def nav_item(context: dict[str, Any], href: str, label: str, *, below: str = "") -> dict[str, str]:
    """A link of a navigation, marked when it is the current page or leads to it.

    `below` is the path whose pages belong to the link: its own address unless given; "exact" for none.
    """
    path = context["request"].path if "request" in context else ""
    inside = below != "exact" and path.startswith(below or href)
    current = "page" if path == href else "true" if inside else ""
    return {"href": href, "label": label, "current": current}
