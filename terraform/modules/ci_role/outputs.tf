output "role_arns" {
  description = "Roles that the pipeline takes: `plan`, `deploy` and `drill`."
  value       = { for purpose, role in aws_iam_role.ci : purpose => role.arn }
}
