"""The way from a new account to the first call that arrives. No tables of its own."""
