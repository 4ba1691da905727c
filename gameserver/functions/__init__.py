"""The functions behind the API and the queue: plain handlers, hosted by asyncio processes here and by AWS Lambda."""
