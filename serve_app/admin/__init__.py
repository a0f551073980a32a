"""The pages at /admin, by which staff run the service."""
