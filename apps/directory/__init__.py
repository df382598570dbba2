"""The key directory: which public key belongs to which project of which organization, whether it still counts, and
who has proven to hold it.

Shared schema, so that a request that carries nothing but a key finds its tenant, and a key is unique among all.
The status lives here and nowhere else: revoking is one row update that every next request sees.
"""
