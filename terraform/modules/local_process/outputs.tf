output "id" {
  description = "Id of the process's resource, which changes with every replacement of the process."
  value       = terraform_data.process.id
}
