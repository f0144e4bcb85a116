"""The operator's page: browser files that use the API like any other client."""
