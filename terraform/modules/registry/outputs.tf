output "repository_name" {
  description = "Name of the repository, which is the same in every region."
  value       = aws_ecr_repository.game.name
}

output "repository_url" {
  description = "URL to which `mjctl package --push` pushes the game server's image."
  value       = aws_ecr_repository.game.repository_url
}
