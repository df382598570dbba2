"""Django's database backend for `ENGINE = "tenancy.backend"`: PostgreSQL whose connections follow the tenant scope."""
