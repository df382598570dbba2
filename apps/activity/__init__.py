"""Which organizations have had usage, and what their days came to: what may be asked without entering their schemas.
Shared schema."""
