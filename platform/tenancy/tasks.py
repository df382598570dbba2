"""The base of all Celery tasks, and the task that keeps spare schemas ready."""

from typing import Any

from celery import Task, shared_task
from django_tenants.utils import get_tenant_model

from tenancy import provisioning
from tenancy.errors import NoTenantError
from tenancy.scope import no_tenant, tenant_scope


class TenantTask(Task[Any, Any]):
    """A task runs for one organization, named by the keyword `organization_id`, inside its scope.

    `@shared_task` tasks take it beside their own arguments; the body does not receive it. A task that works on
    shared tables only declares `shared=True` and runs outside any scope. Everything else raises NoTenantError,
    when it is queued and again when it runs; an organization that is gone or not ready makes the task fail.
    """

    abstract = True
    shared = False

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        self._check(kwargs or {})
        return super().apply_async(args, kwargs, **options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check(kwargs)
        if self.shared:
            with no_tenant():
                return super().__call__(*args, **kwargs)
        organization_id = kwargs.pop("organization_id")
        with no_tenant():
            organization = get_tenant_model()._default_manager.get(pk=organization_id)
        with tenant_scope(organization):
            return super().__call__(*args, **kwargs)

    def _check(self, kwargs: dict[str, Any]) -> None:
        if self.shared == ("organization_id" in kwargs):
            raise NoTenantError(
                f"The task {self.name} is shared and takes no organization_id."
                if self.shared
                else f"The task {self.name} needs organization_id=…, or shared=True in its decorator."
            )


@shared_task(name="tenancy.fill_pool", shared=True)
def fill_pool() -> int:
    """Keeps `SPARE_SCHEMAS` finished schemas standing; how many were made."""
    return provisioning.fill_pool()
