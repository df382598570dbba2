"""Who is signed in, for views of pages and for those that pages call."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse

from apps.accounts.models import User
from web.errors import DomainError, wants_json

View = Callable[..., HttpResponse]


class NotSignedInError(DomainError):
    status = 401
    code = "not_signed_in"


class PersonRequest(HttpRequest):
    """A request of somebody who is signed in."""

    user: User


def signed_in_view(view: View) -> View:
    """Runs a view whose first argument is a PersonRequest for people who are signed in. Others are sent to sign in, or
    told so where a page's module asks."""

    @wraps(view)
    def wrapper(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.user.is_authenticated:
            return view(request, *args, **kwargs)
        if wants_json(request):
            raise NotSignedInError("You were signed out. Reload the page to sign in again.")
        return redirect_to_login(request.get_full_path())

    return wrapper
