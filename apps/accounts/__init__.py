"""People: who they are, what proves it, and the vault that only they can open. Shared schema."""
