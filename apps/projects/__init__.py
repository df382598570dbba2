"""Projects and the generations of their keys. Tenant schema; which generations count is in apps.directory."""
