"""Tests a region under load: bots play matches, and afterwards the stored results are compared with the matches."""
