"""The distributed cache as operators handle it, over one or several regions.

`model` has the operations and their results, `access` opens the cache of a region and completes the operations, and
`remote` reaches a private cache through the ops function.
"""
