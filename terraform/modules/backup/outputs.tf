output "vault_name" {
  description = "Vault of this region."
  value       = aws_backup_vault.main.name
}
