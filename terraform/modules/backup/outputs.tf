output "vault_name" {
  description = "Name of this region's backup vault."
  value       = aws_backup_vault.main.name
}
