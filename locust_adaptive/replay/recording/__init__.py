"""The writing side of traces: what a recording keeps of each request, and the doors through which requests come in.

`Recorder` is the middle: a bounded queue and the thread that writes. Its doors are the reverse proxy (`relay`), an ASGI
middleware (`asgi`), and Locust's request event (in the plugin).
"""
