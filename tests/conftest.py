import signal

import locust  # noqa: F401  gevent must patch before anything else imports ssl
from hypothesis import HealthCheck, settings

# How long an example takes says what else the machine is doing.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

# A shell's job in the background is born deaf to Ctrl-C, and so would be what the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
