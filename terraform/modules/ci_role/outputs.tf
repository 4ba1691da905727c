output "role_arns" {
  description = "Roles that the pipeline takes, `plan` and `deploy`."
  value       = { for purpose, role in aws_iam_role.ci : purpose => role.arn }
}
