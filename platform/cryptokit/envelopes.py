"""What the server can say of an envelope that it can't open: its form."""

import re

# A `W1` wrap of 32 bytes: nonce, commitment, ciphertext and tag in url-safe base64.
WRAPPED_KEY = re.compile(r"W1\.[A-Za-z0-9_-]{139}")
