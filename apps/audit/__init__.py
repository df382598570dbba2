"""The trail of who did what in an organization. Tenant schema; rows are only ever added."""
