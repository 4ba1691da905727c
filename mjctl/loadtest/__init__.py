"""Tests a region under load: bots play matches, and mjctl then compares the stored results with the played matches."""
