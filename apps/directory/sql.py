"""Pieces of SQL that say whether a key still counts."""

# For directory rows `k` joined to their organizations `o`: the key opens the SDK endpoints.
LIVE_KEY = """
    k.status IN ('unproven', 'active', 'retiring') AND (k.retire_at IS NULL OR k.retire_at > now())
    AND NOT k.is_suspended AND o.status = 'ready'
"""

# A common table expression that has one row while the caller's key is live: $1 is the project, $2 the generation.
CALLER = f"""
    caller AS MATERIALIZED (
        SELECT k.project_id, k.generation
          FROM public.directory_projectkeyentry k JOIN public.organizations_organization o ON o.id = k.organization_id
         WHERE k.project_id = $1 AND k.generation = $2 AND {LIVE_KEY})
"""
