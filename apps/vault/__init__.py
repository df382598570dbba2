"""Provider keys as the server has them: sealed boxes and grants that it can't open. Tenant schema."""
