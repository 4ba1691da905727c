output "client_id" {
  description = "App client that the auth function and every token verifier use."
  value       = aws_cognito_user_pool_client.game.id
}

output "issuer" {
  description = "`iss` of every token."
  value       = "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.players.id}"
}

output "jwks_url" {
  description = "Public keys of the issuer."
  value       = "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.players.id}/.well-known/jwks.json"
}

output "user_pool_arn" {
  description = "The pool, for IAM policies."
  value       = aws_cognito_user_pool.players.arn
}

output "user_pool_id" {
  description = "The pool's id."
  value       = aws_cognito_user_pool.players.id
}
