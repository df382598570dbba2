"""The pages of the ledger, of prices and of ingest tokens, and what of them can be set. No tables."""
