"""The tenant: organizations and who belongs to them. Shared schema."""
