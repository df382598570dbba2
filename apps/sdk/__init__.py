"""The endpoints that SDKs call before each provider call: challenge, token, key release. The hot path.

What released clients send and expect is fixed; docs/sdk-contract.md lists it.
"""
