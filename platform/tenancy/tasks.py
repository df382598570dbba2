"""The base of all Celery tasks, and the task that keeps spare schemas ready."""

from typing import Any

from celery import Task, shared_task
from django_tenants.utils import get_tenant_model

from tenancy import provisioning
from tenancy.errors import NoTenantError
from tenancy.scope import no_tenant, tenant_scope


class TenantTask(Task[Any, Any]):
    """A task that runs for one organization, named by the keyword `organization_id`, inside its scope.

    It is taken beside the task's own arguments; the body does not receive it. Without it NoTenantError is raised,
    when the task is queued and again when it runs; an organization that is gone or not ready makes the task fail.
    """

    abstract = True
    # Celery would hold all arguments against the body's, which does not receive `organization_id`.
    typing = False

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:  # type: ignore[override]
        self.check_arguments(kwargs or {})
        own = {name: value for name, value in (kwargs or {}).items() if name != "organization_id"}
        self.__header__(*(args or ()), **own)  # type: ignore[attr-defined]  # missing in the stubs: the body's signature
        return super().apply_async(args, kwargs, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.check_arguments(kwargs)
        organization_id = kwargs.pop("organization_id")
        with no_tenant():
            organization = get_tenant_model()._default_manager.get(pk=organization_id)
        with tenant_scope(organization):
            return super().__call__(*args, **kwargs)

    def check_arguments(self, kwargs: dict[str, Any]) -> None:
        if "organization_id" not in kwargs:
            raise NoTenantError(f"The task {self.name} needs organization_id=…, or SharedTask as its base.")


class SharedTask(TenantTask):
    """A task that works on shared tables only: `base=SharedTask`. It runs outside any scope."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.check_arguments(kwargs)
        with no_tenant():
            return Task.__call__(self, *args, **kwargs)

    def check_arguments(self, kwargs: dict[str, Any]) -> None:
        if "organization_id" in kwargs:
            raise NoTenantError(f"The task {self.name} is shared and takes no organization_id.")


@shared_task(name="tenancy.fill_pool", base=SharedTask)
def fill_pool() -> int:
    """Keeps `SPARE_SCHEMAS` finished schemas standing; how many were made."""
    return provisioning.fill_pool()
