"""OTLP over HTTP: reading what exporters post, and answering as they expect.

Source: open-telemetry/opentelemetry-proto, docs/specification.md, section OTLP/HTTP.
"""
