output "repository_name" {
  description = "The repository; it has the same name in every region."
  value       = aws_ecr_repository.game.name
}

output "repository_url" {
  description = "Where `mjctl package` pushes the game's image."
  value       = aws_ecr_repository.game.repository_url
}
