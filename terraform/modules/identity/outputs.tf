output "client_id" {
  description = "Id of the app client that the auth function and every token verifier use."
  value       = aws_cognito_user_pool_client.game.id
}

output "issuer" {
  description = "Value of the claim `iss` in every token."
  value       = "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.players.id}"
}

output "jwks_url" {
  description = "URL of the issuer's public keys."
  value       = "https://cognito-idp.${var.region}.amazonaws.com/${aws_cognito_user_pool.players.id}/.well-known/jwks.json"
}

output "user_pool_arn" {
  description = "ARN of the user pool, for IAM policies."
  value       = aws_cognito_user_pool.players.arn
}

output "user_pool_id" {
  description = "Id of the user pool."
  value       = aws_cognito_user_pool.players.id
}
