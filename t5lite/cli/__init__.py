"""The ``t5lite`` command: one thin file a subcommand."""
