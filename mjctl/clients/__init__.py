"""Clients for the parts of a deployed region and for its AWS account.

- `boto`: AWS clients of a region.
- `account`: the AWS account before a contract exists, and its state bucket.
- `refusals` and `error_codes`: the meaning of AWS's errors.
- `stores`: connections to PostgreSQL and Redis.
- `secrets` and `tls`: the secrets and the certificates for connections.
- `records`: matches in PostgreSQL and DynamoDB.
- `objects`: backup stores, in a folder or in S3.
- `backup_keys`: the KMS keys of backups.
- `snapshots`: managed backups.
- `queues`: SQS.
- `dns`: Route 53.
- `ecs`: the game servers' service.
- `metrics`: CloudWatch.
- `ops_function`: the Lambda function with access to a private cache.
- `internal_accounts`: the group of internal accounts in the user pool.
- `regions`: work in several regions at the same time.

A module of this package imports no service such as `mjctl.health` or `mjctl.backup`.
"""
