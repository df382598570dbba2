"""Every component in every state on one page, for looking at them and for tests. It exists in development only."""

from types import SimpleNamespace
from typing import Any

from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render

LONG_NAME = "Bundesausbildungsförderungsgesetzdurchführungsverordnung & Söhne Datenverarbeitungsgesellschaft mbH"
LONG_ADDRESS = "maximiliane.von-der-hohenlinde-rosenstein+ledger-notifications@datenverarbeitungsgesellschaft.example"


class SampleForm(forms.Form):
    name = forms.CharField(help_text="Shown to everyone in the organization.")
    email = forms.EmailField(label="E-mail")
    password = forms.CharField(widget=forms.PasswordInput, help_text="At least 12 characters.")
    time_zone = forms.ChoiceField(choices=[("UTC", "UTC"), ("Europe/Berlin", "Europe/Berlin")])
    note = forms.CharField(widget=forms.Textarea(attrs={"rows": 3}), required=False)
    period = forms.ChoiceField(
        widget=forms.RadioSelect, choices=[("day", "Every day"), ("week", "Every week"), ("never", "Never")]
    )
    agreed = forms.BooleanField(
        label="I have a copy of the recovery key", help_text="On paper, or in a password manager."
    )


def sample_context() -> dict[str, Any]:
    """What the page shows: ordinary values, and some that are too long."""

    def organization(key: str, name: str, role: str) -> SimpleNamespace:
        return SimpleNamespace(organization=SimpleNamespace(pk=key, name=name), get_role_display=role)

    memberships = [organization("1", "Acme", "Owner"), organization("2", LONG_NAME, "Viewer")]
    return {
        "shell": {"memberships": memberships, "organization": memberships[0].organization, "abilities": frozenset()},
        "form": SampleForm(initial={"name": "Ada Lovelace", "period": "week"}),
        "wrong": SampleForm({"wrong-email": "ada@", "wrong-time_zone": "UTC"}, prefix="wrong"),
        "crumbs": [("/o/1/", "Projects"), ("/o/1/projects/1/", LONG_NAME)],
        "long_name": LONG_NAME,
        "long_address": LONG_ADDRESS,
        "fingerprint": "9f3a61c07be24d15a8830c6ff1d2947e",
        "steps": ["Secure your account", "Save the recovery key", "Create an organization", "Add a provider key"],
        "tabs": [
            {"label": "Python", "source": "landing/code_call.html"},
            {"label": "Shell", "code": "export ANY_LLM_KEY=ANY.v1.…\npython ask.py"},
            {"label": "Gateway", "code": "providers:\n  openai: {}\n"},
        ],
        "roles": [
            ("admin", "Admin", "Members, projects and settings. Holds the keys of all projects."),
            ("developer", "Developer", "Uses projects, and holds the keys of those they are added to."),
            ("viewer", "Viewer", "Sees projects, usage and cost. For finance, and for looking."),
        ],
        "listed": Paginator(range(100), 10).page(4),
    }


def components(request: HttpRequest) -> HttpResponse:
    if not settings.DEBUG:
        raise Http404
    return render(request, "dev/components.html", sample_context())


def entrance(request: HttpRequest) -> HttpResponse:
    if not settings.DEBUG:
        raise Http404
    return render(request, "dev/entrance.html", {"form": SampleForm()})
