"""How a run ends early, other than by a bug of ours."""


class UserError(Exception):
    """Its message is one line: the file or field, what is wrong with it, and what to do.

    `main` prints the message without a traceback and exits with 1; batches (prepare, predict)
    note it for the file at hand and go on with the rest.
    """


class InterruptedRunError(Exception):
    """A person or the system asked a run to stop, and its state is saved."""
