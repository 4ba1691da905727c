"""Inspects and changes the distributed cache of a region, for operators.

- `model` defines the operations on a cache and the types of their results.
- `access` opens the cache of a region, and implements operations that consist of several calls.
- `remote` reaches a private cache, to which this machine cannot connect, through the ops function.
"""
