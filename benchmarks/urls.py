"""The product's URLs, and the view that everything is compared with: plain Django that does nothing."""

from django.http import HttpRequest, HttpResponse
from django.urls import path

from config import urls


def empty(_request: HttpRequest) -> HttpResponse:
    return HttpResponse()


urlpatterns = [*urls.urlpatterns, path("benchmarks/empty", empty)]
handler400, handler500 = urls.handler400, urls.handler500
