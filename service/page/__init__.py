"""The operator's page: files for a browser, which talk to the API like any other client."""
