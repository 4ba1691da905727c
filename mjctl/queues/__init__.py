"""Reads the depth of a region's queues, and shows, deletes and redrives the messages in dead-letter queues."""
