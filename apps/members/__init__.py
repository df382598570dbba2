"""Who belongs to an organization: invitations, confirmation, roles, removal.

On top of organizations, projects and vault; no tables of its own.
"""
