"""Reading the mail of a development stack. Not routed anywhere else (config/urls.py)."""

from itertools import islice

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from devstack.mail import get_mail, newest_id, search_mail

SHOWN = 100


def mail_list(request: HttpRequest) -> HttpResponse:
    recipient = request.GET.get("to", "").strip()
    context = {"recipient": recipient, "url": settings.EMAIL_URL, "in_a_folder": _is_in_a_folder()}
    if _is_in_a_folder():
        context |= {"mails": list(islice(search_mail(recipient), SHOWN)), "newest": newest_id()}
    return render(request, "dev/mail.html", context)


def mail(request: HttpRequest, mail_id: str) -> HttpResponse:
    found = get_mail(mail_id) if _is_in_a_folder() else None
    if found is None:
        raise Http404
    return render(request, "dev/mail_message.html", {"mail": found})


def newest(_request: HttpRequest) -> JsonResponse:
    """Whether a list that is open has become old."""
    return JsonResponse({"newest": newest_id() if _is_in_a_folder() else ""}, headers={"Cache-Control": "no-store"})


def _is_in_a_folder() -> bool:
    return str(settings.EMAIL_URL).startswith("file:")
