"""The functions that answer the API and store events. Local processes and AWS Lambda run the same functions."""
