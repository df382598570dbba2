"""Forms of a project's pages. What a field may hold is checked by the services."""

from django import forms

from apps.projects.clients import LONGEST_NAME
from apps.projects.models import Project


class ProjectForm(forms.Form):
    name = forms.CharField(
        max_length=255,
        help_text="What it is for. Environments of one thing have the same name.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "list": "project-names"}),
    )
    environment = forms.ChoiceField(choices=Project.Environment, widget=forms.RadioSelect)
    description = forms.CharField(
        max_length=1024, required=False, widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off"})
    )


class ClientForm(forms.Form):
    name = forms.CharField(
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="As the program gives it when it calls.",
    )


class DeletionForm(forms.Form):
    """`name` is what the person typed to confirm."""

    name = forms.CharField(max_length=255)
