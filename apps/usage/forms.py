"""Forms of the usage pages. What a field may hold is checked again by services."""

from django import forms

from apps.directory.ingest_tokens import LONGEST_NAME


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=LONGEST_NAME,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Of the program or collector that reports with it.",
    )
