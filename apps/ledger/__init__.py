"""The usage ledger: what was called, how many tokens, what it cost. Rows are facts and never change. Tenant schema."""
