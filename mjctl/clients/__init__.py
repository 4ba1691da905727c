"""The ways to reach the parts of a deployed region, and the account that it lives in.

- `boto`: AWS clients of one region; `account`: the AWS account before any contract exists, and its state bucket;
  `refusals` and `error_codes`: what the errors of both mean.
- `stores`: connections to PostgreSQL and Redis; `secrets` and `tls`: what a connection needs; `records`: matches as
  both stores have them.
- `objects`: backup stores, in a folder or in S3; `backup_keys`: the KMS keys of backups; `snapshots`: backups that AWS
  keeps.
- `queues`: SQS; `dns`: Route 53; `ecs`: the game service; `metrics`: CloudWatch; `ops_function`: the Lambda function
  beside a private cache; `internal_accounts`: the user pool.
- `regions`: the same work in several regions at the same time.

A module here imports nothing of a service such as `mjctl.health` or `mjctl.backup`.
"""
