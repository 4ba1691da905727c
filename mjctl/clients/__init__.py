"""Clients for the parts of a deployed region and for its AWS account.

- `boto`: AWS clients of a region.
- `account`: the AWS account of an environment and the state bucket, also before a contract exists.
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
- `regions`: runs the same work for several regions at the same time.

No module of this package imports a package of a higher layer, e.g. `mjctl.health` or `mjctl.backup`.
"""
