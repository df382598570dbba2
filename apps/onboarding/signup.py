"""Signing up: a person, their vault, and their organization, all or nothing."""

from typing import Any

from allauth.account.forms import SignupForm
from allauth.account.internal.flows.login import record_authentication
from allauth.core import context
from django import forms
from django.contrib.auth.hashers import make_password
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from apps.accounts.adapter import INVITATION
from apps.accounts.forms import AuthSecretField, VaultField, plain_email
from apps.accounts.models import User
from apps.accounts.services import EmailTakenError, create_account
from apps.accounts.shapes import NewVault
from apps.organizations.services import create_organization


class SignUpForm(SignupForm):  # type: ignore[misc]  # allauth has no types
    """Who was invited needs no organization: the one that invited them is theirs."""

    account_already_exists: bool

    organization = forms.CharField(
        label="Organization",
        max_length=255,
        help_text="Your company or team. You can change it later.",
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    vault = VaultField(NewVault)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["password1"] = AuthSecretField()
        plain_email(self, "email", "username")
        if context.request.session.get(INVITATION):
            del self.fields["organization"]

    def try_save(self, request: HttpRequest) -> tuple[User | None, HttpResponse | None]:
        """The user; or None and the answer that looks the same, where the address has an account."""
        if not self.account_already_exists:
            try:
                return self.save(request), None
            except EmailTakenError:  # by another request, just now
                self.account_already_exists = True
        else:
            # What a new account costs, so that the time it takes says little.
            make_password(self.cleaned_data["password1"])
        user, response = super().try_save(request)
        return user, response

    @transaction.atomic
    def save(self, request: HttpRequest) -> User:
        vault: NewVault = self.cleaned_data["vault"]
        user = create_account(
            email=self.cleaned_data["email"],
            auth_secret=self.cleaned_data["password1"],
            identity=vault.identity.identity,
            unlock=vault.password.unlock,
        )
        if "organization" in self.fields:
            create_organization(name=self.cleaned_data["organization"], owner=user)
        # They typed the password just now: nobody asks for it again while they make their recovery key.
        record_authentication(request, user, method="password", email=user.email)
        return user
