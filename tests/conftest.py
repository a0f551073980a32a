"""Fixtures for all tests."""

pytest_plugins = ["tests.services", "tests.redis_server", "tests.mail_server", "tests.stack"]
