"""Shared tables of tenancy itself, and what every row that stands for a schema has."""

from django.db import models
from django.db.models.functions import Now


class SchemaState(models.Model):
    """How far a tenant schema is migrated. `schema_version` is a hash (tenancy/versions.py), empty once the schema is
    dropped; `migration_error` is the last failure, empty when there was none since."""

    schema_version = models.CharField(max_length=64, editable=False)
    migration_error = models.TextField(blank=True, default="", editable=False)

    class Meta:
        abstract = True


class SpareSchema(SchemaState):
    """A finished, empty tenant schema that no organization has yet. Claiming it deletes the row: the schema keeps
    its name, since names are opaque."""

    schema_name = models.CharField(primary_key=True, max_length=63)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.schema_name
