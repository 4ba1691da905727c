"""One look over every part of every region: small concurrent checks, and deep probes that really log in and play."""
