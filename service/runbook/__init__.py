"""What each alert of Prometheus indicates and what to do, as a page of the service."""
