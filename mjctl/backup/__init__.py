"""Makes, lists, verifies, restores and prunes the backups of a region.

A portable backup is an encrypted archive of the region's stores. An interrupted run leaves no partial backup behind.
A managed backup is made and kept by AWS.

- `create`, `verify`, `restore`, `retention` and `drill` work on portable backups.
- `archive` defines the format of a portable backup, and `keys` its cryptography.
- `tables`, `database` and `cache` read and write the records of one kind of store each.
- `catalog` lists the portable backups in an object store. The health checks read the catalog too.
- `managed` covers AWS Backup and the backups of DynamoDB, Aurora and ElastiCache.
"""
