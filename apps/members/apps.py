from django.apps import AppConfig


class MembersConfig(AppConfig):
    name = "apps.members"

    def ready(self) -> None:
        # Models can't be imported before all apps are loaded.
        from apps.members import farewell

        farewell.register()
