from allauth.account.signals import password_changed, password_reset
from django.apps import AppConfig
from django.contrib.auth.signals import user_logged_in


class AccountsConfig(AppConfig):
    name = "apps.accounts"

    def ready(self) -> None:
        from apps.accounts import devices

        user_logged_in.connect(devices.remember_device)
        for changed in (password_changed, password_reset):
            changed.connect(devices.forget_other_devices)
