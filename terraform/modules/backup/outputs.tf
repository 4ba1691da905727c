output "copy_vault_arn" {
  description = "Vault of the copies, in the other region."
  value       = aws_backup_vault.copy.arn
}

output "role_arn" {
  description = "Role that makes backups and restores."
  value       = aws_iam_role.backup.arn
}

output "vault_name" {
  description = "Vault of this region."
  value       = aws_backup_vault.main.name
}
