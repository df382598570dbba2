"""What the ledger comes to: sums by the quarter of an hour and by the day, made from it by Celery. Tenant schema."""
