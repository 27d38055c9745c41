import locust  # noqa: F401  gevent must patch before anything else imports ssl
