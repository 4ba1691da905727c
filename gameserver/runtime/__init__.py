"""Connect a process to its surroundings: settings, secrets, TLS, AWS, Redis, logs."""
