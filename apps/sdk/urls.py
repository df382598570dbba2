from django.urls import path

from apps.sdk.api import ChallengeView, ProviderKeyView, TokenView

urlpatterns = [
    path("auth/", ChallengeView.as_view()),
    path("auth/token", TokenView.as_view()),
    path("provider-keys/<str:provider>", ProviderKeyView.as_view()),
]
