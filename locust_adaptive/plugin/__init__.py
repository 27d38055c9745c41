"""The only room that imports locust or gevent."""
