"""Compares the emulated AWS with answers of the real AWS that LocalStack's tests recorded.

Usage: python -m tools.recorded_answers FOLDER [--service NAME] [--stage] [--output json]

FOLDER is a checkout or a git directory of LocalStack's public repository: https://github.com/localstack/localstack
"""
