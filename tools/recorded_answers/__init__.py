"""Compares answers of the emulated AWS with answers of the real AWS, which LocalStack's tests recorded.

Usage: python -m tools.recorded_answers FOLDER [--service NAME] [--stage] [--output json]

FOLDER is a checkout or a git directory of LocalStack's public repository: https://github.com/localstack/localstack
"""
