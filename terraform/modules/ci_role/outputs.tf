output "role_arns" {
  description = "ARNs of the roles that a pipeline assumes, by purpose: `plan`, `deploy` and, with subjects for drills, `drill`."
  value       = { for purpose, role in aws_iam_role.ci : purpose => role.arn }
}
