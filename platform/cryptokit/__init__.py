"""The server's part of the key protocol: encodings, admission of public keys, sealing challenges, checking
signatures, encryption at rest. docs/protocol.md describes the formats; nothing here can open a customer's box."""
