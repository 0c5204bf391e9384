"""Where files lie: the one room that knows addresses of object storage (``gs://``, ``s3://``) and paths."""
