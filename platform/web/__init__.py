"""What every HTTP answer shares: request ids and logs, one shape for errors, health, the caller's address."""
