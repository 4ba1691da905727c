output "id" {
  description = "Changes with every replacement of the process."
  value       = terraform_data.process.id
}
