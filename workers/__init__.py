"""How processes run: the Celery app, the queues, the warm browser, process metrics."""
