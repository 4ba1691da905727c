"""Backups: a logical archive of a region's stores, written whole or not at all, and what AWS keeps by itself.

`create`, `verify`, `restore`, `retention` and `drill` work on the portable archive; `archive` has its format, `keys`
its cryptography; `tables`, `database` and `cache` read and write one kind of store each. `managed` is AWS Backup,
DynamoDB, Aurora and ElastiCache. What is in an object store is told by `mjctl.backup.catalog`, which health asks too.
"""
