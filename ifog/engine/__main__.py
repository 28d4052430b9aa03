"""``python -m ifog.engine``: an engine, as the manager starts it. Its arguments are those of ipyparallel's ``ipengine``."""

from .binding import bind

bind()  # before anything imports numpy

from .app import main  # noqa: E402

main()
