"""Pages that belong to no app."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views import defaults
from django.views.decorators.csrf import csrf_exempt

from web.errors import error_response, is_api


def landing(request: HttpRequest) -> HttpResponse:
    return render(
        request,
        "landing.html",
        {"site_url": settings.SITE_URL, "platform_url": f"{settings.SITE_URL}/api/v1"},
    )


@csrf_exempt  # it does nothing: a program that posts to a wrong path shall hear that, not of a form's token
def no_endpoint(request: HttpRequest) -> HttpResponse:
    """For every path of programs that is nothing: JSON, in development too, and never a redirect."""
    return error_response(404, "not_found", f"There is no {request.path}. Trailing slashes matter.")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if is_api(request):
        return error_response(400, "malformed", "The request could not be understood.")
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest) -> HttpResponse:
    if is_api(request):
        return error_response(500, "server_error", "Something went wrong on our side. It has been logged; try again.")
    return defaults.server_error(request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    return render(request, "csrf_failure.html", status=403)
