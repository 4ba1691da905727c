"""Makes, lists, verifies, restores and prunes the backups of a region.

A portable backup is an encrypted archive of the region's stores. After an error or Ctrl-C, `create` removes the objects
of an unfinished portable backup. AWS makes and keeps a managed backup.

- `create`, `verify`, `restore`, `retention` and `drill` work on portable backups.
- `archive` defines the format of a portable backup, and `keys` creates, encrypts and decrypts the backup's keys.
- `tables` reads and writes the records of DynamoDB, `database` those of PostgreSQL, and `cache` those of Redis.
- `catalog` lists the portable backups in an object store. The health checks read the list of backups too.
- `managed` covers AWS Backup and the backups of DynamoDB, Aurora and ElastiCache.
"""
